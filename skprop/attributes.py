"""The fitted attributes of an estimator: one function writes them, whole or not at all."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .fitting import Fit
from .folds import MISSING, Setup
from .laplace import Evidence, above_zero
from .posterior import Deferred

__all__ = ["FittedAttributes", "attributes", "posterior_attributes"]


_OF_POSTERIORS = (
    "_factor", "_noise", "_shift", "_doubt", "effective_n_parameters_", "log_evidence_",
    "noise_variance_", "slope_noise_variance_",
)  # fmt: skip


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

    def _settle(self) -> None:
        """Compute the posterior that a fit has put off; other threads that ask wait for it."""
        deferred = vars(self).get("_deferred")
        if deferred is not None:
            posteriors = [posterior.get() for posterior in deferred]
            self._set(posterior_attributes(posteriors, Setup.of(self), self._slope_factor()))
            vars(self).pop("_deferred", None)  # after the rest is there, for those that do not wait

    def _slope_factor(self) -> float:
        """The weight of slopes in the fit."""
        return 1.0 if self.slope_weight == "auto" else self.slope_weight

    if not TYPE_CHECKING:  # a type checker would take any name for an attribute

        def __getattr__(self, name: str):
            """An attribute of a posterior that is computed now."""
            if name in _OF_POSTERIORS and "_deferred" in vars(self):
                self._settle()
            try:
                return vars(self)[name]
            except KeyError:
                message = f"{type(self).__name__!r} object has no attribute {name!r}"
                if "theta_" not in vars(self):
                    message += "; it is not fitted"
                raise AttributeError(message, name=name, obj=self) from None

    def __getstate__(self):
        self._settle()  # so that training rows never leave with the estimator
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


def attributes(
    fits: Sequence[Fit], setup: Setup | None = None, slope_weight: float = 1.0
) -> dict[str, Any]:
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
        "member_loss_curves_": [fit.loss_curve for fit in fits] if len(fits) > 1 else MISSING,
        "best_loss_": joined(_mean, [_best_loss(fit) for fit in fits]),
        "validation_loss_curve_": joined(_mean_curve, [fit.validation_loss_curve for fit in fits]),
        "validation_scores_": joined(_mean_curve, [fit.validation_scores for fit in fits]),
        "best_validation_score_": joined(_mean, [_best_score(fit) for fit in fits]),
        "_solver_state": joined(lambda _: None, [fit.state for fit in fits]),
        "alpha_": joined(np.array, [fit.alpha for fit in fits]),
        "relevances_": joined(
            lambda each: np.mean(each, axis=0), [_relevances(fit, setup) for fit in fits]
        ),
        "_prepared": MISSING,
    }
    for name in ("alpha_", "relevances_"):
        if found[name] is None:
            found[name] = MISSING
    posteriors = [fit.posterior for fit in fits]
    if any(isinstance(posterior, Deferred) for posterior in posteriors):
        return found | posterior_attributes([], setup) | {"_deferred": posteriors}
    noises = [fit.held_out_noise for fit in fits]
    if len(noises) > 1 and all(noise is not None for noise in noises):
        return found | posterior_attributes([], setup) | _noise_attributes(noises, setup)
    return found | posterior_attributes(posteriors, setup, slope_weight)


def _noise_attributes(
    noises: list[NDArray], setup: Setup, slope_weight: float = 1.0
) -> dict[str, Any]:
    """The fitted attributes of the noises σ_k² of each network, of values and then of slopes."""
    d_K, units = setup.sizes[-1], setup.units
    variances = [units.raw_variance(above_zero(noise[:d_K])) for noise in noises]
    variance, slopes = np.broadcast_to(np.mean(variances, axis=0), (d_K,)), MISSING
    if len(noises[0]) > d_K:
        slopes = [units.raw_slope_variance(noise[d_K:] / slope_weight) for noise in noises]
        slopes = np.mean(slopes, axis=0)
        slopes = slopes[0] if setup.single_output else slopes
    return {
        "slope_noise_variance_": slopes,
        "_noise": noises[0] if len(noises) == 1 else np.array(noises),
        "noise_variance_": float(variance[0]) if setup.single_output else variance.copy(),
    }


def posterior_attributes(
    posteriors: Sequence[Evidence | None], setup: Setup | None, slope_weight: float = 1.0
) -> dict[str, Any]:
    """The fitted attributes of the posteriors, `MISSING` unless every network has one."""
    found = dict.fromkeys((*_OF_POSTERIORS, "_deferred"), MISSING)
    if not posteriors or any(posterior is None for posterior in posteriors):
        return found
    one = len(posteriors) == 1

    def joined(values: list) -> Any:
        return values[0] if one else np.array(values)

    found |= _noise_attributes([posterior.noise for posterior in posteriors], setup, slope_weight)
    found |= {
        "_factor": joined([posterior.factor for posterior in posteriors]),
        "effective_n_parameters_": joined([posterior.n_effective for posterior in posteriors]),
        "log_evidence_": joined([posterior.log_evidence for posterior in posteriors]),
    }
    if posteriors[0].shift is not None:
        found["_shift"] = joined([posterior.shift for posterior in posteriors])
    doubts = sorted({posterior.doubt for posterior in posteriors if posterior.doubt})
    return found | ({"_doubt": doubts[0]} if doubts else {})


def _relevances(fit: Fit, setup: Setup) -> NDArray | None:
    """The share of each feature in the sum of 1/α_i; None unless a fit has an α_i of each."""
    if np.ndim(fit.alpha) == 0:
        return None
    variances = 1 / fit.alpha[: setup.sizes[0]]
    return variances / variances.sum()


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
