"""Pictures of a fit, in scikit-learn's Display convention."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

__all__ = ["LossCurveDisplay"]


class LossCurveDisplay:
    """The loss of each iteration or epoch of a fit, with the best iteration marked.

    Make one with `from_estimator`. It draws the curves that the fit has kept, without evaluating
    the network. Needs matplotlib (``pip install "skprop[plot]"``).

    Parameters
    ----------
    loss_curve : sequence of float
        The training loss after each iteration.
    validation_loss_curve : sequence of float, optional
        The loss on held-out rows after each iteration; if it is shorter than ``loss_curve``, after
        each of the last iterations.
    name : str, optional
        The name of the fit in the legend.
    member_loss_curves : sequence of sequences of float, optional
        The training losses of the members whose mean ``loss_curve`` is.

    Attributes
    ----------
    best_iteration : int
        The iteration, counted from 1, of the least validation loss, which is the one that early
        stopping keeps; without a validation curve, of the least training loss.
    lines_ : list of matplotlib Line2D
        The training and, where there is one, the validation curve; set by `plot`.
    member_lines_ : list of matplotlib Line2D
        The training curves of the members, thin and in the colour of their mean; set by `plot`.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    sklearn.metrics.PredictionErrorDisplay : Predicted against actual values, or residuals.
    sklearn.model_selection.LearningCurveDisplay : Scores by the number of training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_diabetes
    >>> from skprop import LossCurveDisplay, MLPSigmoidRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPSigmoidRegressor(early_stopping=True, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> bool(display.best_iteration == 1 + np.argmin(model.validation_loss_curve_))
    True

    Two fits on the same axes:

    >>> other = MLPSigmoidRegressor(early_stopping=True, solver="adam", random_state=0).fit(X, y)
    >>> first = LossCurveDisplay.from_estimator(model, name="L-BFGS")
    >>> second = LossCurveDisplay.from_estimator(other, name="Adam", ax=first.ax_)
    """

    def __init__(
        self,
        *,
        loss_curve: Sequence[float],
        validation_loss_curve: Sequence[float] | None = None,
        name: str | None = None,
        member_loss_curves: Sequence[Sequence[float]] = (),
    ):
        self.member_loss_curves = member_loss_curves
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator, *, ax=None, name: str | None = None, line_kw: dict | None = None
    ) -> Self:
        """Draw the loss curves of a fitted estimator.

        Parameters
        ----------
        estimator : MLPSigmoidRegressor
            Or any estimator with a ``loss_curve_``, such as scikit-learn's `MLPRegressor`; or a
            `Pipeline` that ends in one, or a search whose best estimator it is.
        ax : matplotlib Axes, optional
            Where to draw; by default on a new figure. The axes of another display put several
            fits side by side.
        name : str, optional
            The name of the fit in the legend; by default that of the class.
        line_kw : dict, optional
            Handed on to `matplotlib.axes.Axes.plot`, for both curves.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the fit has kept no curve: with a callable solver, after `set_theta`, or after a
            fit without an iteration.
        """
        check_is_fitted(estimator)
        fitted = getattr(estimator, "best_estimator_", estimator)
        if isinstance(fitted, Pipeline):
            fitted = fitted[-1]
        if not getattr(fitted, "loss_curve_", None):
            raise ValueError(
                f"{fitted!r} has kept no loss curve. Fit it with a built-in solver, or give "
                "LossCurveDisplay the losses you have."
            )
        display = cls(
            loss_curve=fitted.loss_curve_,
            validation_loss_curve=getattr(fitted, "validation_loss_curve_", None),
            name=type(fitted).__name__ if name is None else name,
            member_loss_curves=getattr(fitted, "member_loss_curves_", ()),
        )
        return display.plot(ax=ax, line_kw=line_kw)

    @property
    def best_iteration(self) -> int:
        """The number of the iteration with the least validation loss, or else training loss."""
        if self.validation_loss_curve is None:
            return 1 + int(np.argmin(self.loss_curve))
        shift = len(self.loss_curve) - len(self.validation_loss_curve)
        return 1 + shift + int(np.argmin(self.validation_loss_curve))

    def plot(self, ax=None, *, name: str | None = None, line_kw: dict | None = None) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax, name, line_kw
            As in `from_estimator`; ``name`` is by default that of the display.

        Returns
        -------
        LossCurveDisplay
            Itself, with ``lines_``, ``ax_`` and ``figure_`` set.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        try:
            import matplotlib.pyplot as plt
            from matplotlib.ticker import MaxNLocator
        except ImportError as error:
            raise ImportError(
                'LossCurveDisplay.plot needs matplotlib: pip install "skprop[plot]".'
            ) from error

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        name = self.name if name is None else name
        curves = {"training": (self.loss_curve, "-")}
        if self.validation_loss_curve is not None:
            curves["validation"] = (self.validation_loss_curve, "--")
        watched = list(curves)[-1]
        style: dict[str, Any] = {}
        self.lines_ = []
        for kind, (curve, dashes) in curves.items():
            iterations = len(self.loss_curve) - len(curve) + np.arange(1, len(curve) + 1)
            label = kind if name is None else f"{name}, {kind}"
            if kind == watched:
                best = self.best_iteration
                style |= {"marker": "o", "markevery": [best - int(iterations[0])]}
                label += f" (best: {best})"
            (line,) = ax.plot(
                iterations, curve, **{"linestyle": dashes, "label": label} | style | (line_kw or {})
            )
            style["color"] = line.get_color()
            self.lines_.append(line)
        thin = {"linewidth": 0.6, "alpha": 0.6, "color": style["color"], "label": "_member"}
        self.member_lines_ = [
            ax.plot(np.arange(1, len(curve) + 1), curve, **thin)[0]
            for curve in self.member_loss_curves
        ]
        ax.set(xlabel="Iteration", ylabel="Loss")
        if max(self.loss_curve) > 0:  # not where all of them are exactly zero
            ax.set_yscale("log")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
