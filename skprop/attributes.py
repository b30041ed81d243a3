"""The fitted attributes of an estimator: one function writes them, whole or not at all."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import numpy as np

from .fitting import Fit
from .folds import MISSING, Setup
from .laplace import Evidence

__all__ = ["FittedAttributes", "attributes", "posterior_attributes"]


class FittedAttributes:
    """Setting, restoring and pickling the attributes of an estimator as a whole."""

    def _set(self, values: dict[str, Any]) -> None:
        """Set attributes, and remove those that are `MISSING`."""
        for name, value in values.items():
            if value is MISSING:
                vars(self).pop(name, None)
            else:
                setattr(self, name, value)

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """Leave the estimator as it was if what runs inside raises."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__ = before  # a single step, so that a second Ctrl-C cannot halve it
            raise

    def __getstate__(self):
        return super().__getstate__() | {"_skprop_version": _version()}

    def __setstate__(self, state):
        state = dict(state)
        saved_by = state.pop("_skprop_version", "of unknown version")
        if saved_by != _version():
            warnings.warn(
                f"This {type(self).__name__} was saved by skprop {saved_by} and is loaded by "
                f"{_version()}: what it predicts or how it goes on may differ. Fit it anew, or "
                f"use the version that saved it.",
                UserWarning,
                stacklevel=2,
            )
        added = inspect.signature(type(self)).parameters  # since that version: at their defaults
        super().__setstate__({name: p.default for name, p in added.items()} | state)


def _version() -> str:
    """The version of this package, which is known only after this module was imported."""
    from . import __version__

    return __version__


def attributes(fits: Sequence[Fit], setup: Setup | None = None) -> dict[str, Any]:
    """The fitted attributes of an estimator, `MISSING` for those that these fits do not have.

    With several fits, arrays and numbers that describe a network get the members as first axis;
    losses are averaged, and a curve counts with its last value once it has ended; ``n_iter_`` is
    the greatest, evaluations and rows are summed. Without fits all attributes are missing.
    """

    def joined(join: Callable, values: list) -> Any:
        if len(values) == 1:
            return values[0]
        if not values:
            return MISSING
        return None if any(value is None for value in values) else join(values)

    found = {
        "theta_": joined(np.array, [fit.theta for fit in fits]),
        "loss_": joined(_mean, [fit.loss for fit in fits]),
        "n_iter_": joined(max, [fit.n_iter for fit in fits]),
        "n_fev_": joined(sum, [fit.n_fev for fit in fits]),
        "t_": joined(sum, [fit.n_visited for fit in fits]),
        "message_": joined(lambda texts: " ".join(sorted(set(texts))), [f.message for f in fits]),
        "loss_curve_": joined(_mean_curve, [fit.loss_curve for fit in fits]),
        "best_loss_": joined(_mean, [_best_loss(fit) for fit in fits]),
        "validation_loss_curve_": joined(_mean_curve, [fit.validation_loss_curve for fit in fits]),
        "validation_scores_": joined(_mean_curve, [fit.validation_scores for fit in fits]),
        "best_validation_score_": joined(_mean, [_best_score(fit) for fit in fits]),
        "_solver_state": joined(lambda states: None, [fit.state for fit in fits]),
        "alpha_": joined(np.array, [fit.alpha for fit in fits]),
        "_prepared": MISSING,
    }
    if found["alpha_"] is None:
        found["alpha_"] = MISSING
    return found | posterior_attributes([fit.posterior for fit in fits], setup)


def posterior_attributes(
    posteriors: Sequence[Evidence | None], setup: Setup | None
) -> dict[str, Any]:
    """The fitted attributes of the posteriors, `MISSING` unless every network has one."""
    names = (
        "_factor", "_noise", "effective_n_parameters_", "log_evidence_", "noise_variance_",
    )  # fmt: skip
    if not posteriors or any(posterior is None for posterior in posteriors):
        return dict.fromkeys(names, MISSING)
    _, noises, _, n_effective, log_evidences = zip(*posteriors, strict=True)
    factors = [posterior.factor for posterior in posteriors]
    columns = factors, noises, n_effective, log_evidences
    values = [column[0] if len(posteriors) == 1 else np.array(column) for column in columns]
    variances = [setup.units.raw_variance(noise) for noise in noises]
    variance = np.broadcast_to(np.mean(variances, axis=0), setup.sizes[-1:])
    values.append(float(variance[0]) if setup.single_output else variance.copy())
    return dict(zip(names, values, strict=True))


def _best_loss(fit: Fit) -> float | None:
    """The least training loss of a fit's iterations; None with early stopping."""
    if fit.validation_loss_curve is not None:
        return None
    return min(fit.loss_curve, default=fit.loss)


def _best_score(fit: Fit) -> float | None:
    """The greatest validation score of a fit; None without early stopping."""
    return max(fit.validation_scores or [], default=None)


def _mean(values: list[float]) -> float:
    return float(np.mean(values, axis=0))


def _mean_curve(curves: list[list[float]]) -> list[float]:
    """The mean of several curves; one that has ended counts with its last value."""
    latest, means = [np.nan] * len(curves), []
    for values in zip_longest(*curves):
        latest = [old if new is None else new for old, new in zip(latest, values, strict=True)]
        means.append(float(np.mean(latest)))
    return means
