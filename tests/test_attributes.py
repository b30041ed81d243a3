"""The fitted attributes that become of the fits of a committee's members."""

import numpy as np
import pytest

from skprop.attributes import attributes
from skprop.fitting import Fit
from skprop.folds import MISSING


def fit(theta, loss, curve, validation=None, scores=None, **fields):
    return Fit(
        np.array(theta), loss, len(curve), 2 * len(curve), 10 * len(curve), "Done.", curve,
        validation, scores, **fields,
    )  # fmt: skip


FIRST = fit([1.0, 2.0], 0.5, [3.0, 1.0], [4.0, 2.0], [0.2, 0.6], state={"solver": "adam"})
SECOND = fit([3.0, 4.0], 1.5, [5.0], [6.0], [0.4], state={"solver": "adam"})


def test_losses_are_averaged_and_counts_are_summed():
    found = attributes([FIRST, SECOND])
    np.testing.assert_array_equal(found["theta_"], [[1, 2], [3, 4]])
    assert (found["loss_"], found["best_validation_score_"]) == (1.0, 0.5)
    assert (found["n_iter_"], found["n_fev_"], found["t_"]) == (2, 6, 30)
    assert found["message_"] == "Done."
    assert found["_solver_state"] is None


def test_a_curve_that_has_ended_counts_with_its_last_value():
    found = attributes([FIRST, SECOND])
    assert found["loss_curve_"] == [4.0, 3.0]
    assert found["validation_loss_curve_"] == [5.0, 4.0]
    assert found["validation_scores_"] == pytest.approx([0.3, 0.5])


def test_one_fit_keeps_what_it_has():
    found = attributes([FIRST])
    assert found["theta_"] is FIRST.theta
    assert found["loss_curve_"] is FIRST.loss_curve
    assert (found["loss_"], found["best_validation_score_"]) == (0.5, 0.6)
    assert found["_solver_state"] == {"solver": "adam"}
    assert found["best_loss_"] is None


def test_without_early_stopping_the_least_loss_is_averaged_and_nothing_is_validated():
    found = attributes([fit([1.0], 0.5, [0.4, 0.6]), fit([2.0], 1.5, [])])
    assert found["best_loss_"] == pytest.approx(0.95)
    assert found["validation_loss_curve_"] is found["best_validation_score_"] is None


def test_what_a_fit_does_not_have_is_missing():
    assert set(attributes([]).values()) == {MISSING}
    found = attributes([FIRST, SECOND])
    assert attributes([]).keys() == found.keys()
    assert {name for name, value in found.items() if value is MISSING} == {
        "alpha_", "relevances_", "slope_noise_variance_", "_prepared", "_factor", "_noise",
        "effective_n_parameters_", "log_evidence_", "noise_variance_", "_shift", "_doubt",
        "_deferred",
    }  # fmt: skip
