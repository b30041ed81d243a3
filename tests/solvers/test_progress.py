"""The record of a run and the rules that end it, iteration by iteration."""

import math

import numpy as np
import pytest

from skprop.solvers import CONVERGED, FAILED
from skprop.solvers.progress import Progress


def run(losses, watched=None, n_iter_no_change=3, **options):
    """Iteration j is at θ = (j,) and has these losses; the number of iterations until the end."""
    if watched is not None:
        options["validation_loss"] = lambda theta: watched[int(theta[0])]
    progress = Progress(n_iter_no_change, **options)
    progress.begin(np.array([-1.0]), 100.0)
    for j, loss in enumerate(losses):
        if progress.record(np.array([float(j)]), loss):
            return progress, j + 1
    return progress, None


def test_an_iteration_improves_if_it_beats_the_best_by_more_than_tol():
    for fall, tol, end in [(0.0, 0.0, 4), (0.5, 0.5, 4), (0.5, 0.25, None)]:
        assert run([8 - fall * j for j in range(10)], tol=tol)[1] == end
    assert run([8.0, 7.5, 7.0, 6.5, 6.0], tol=0.5, n_iter_no_change=1)[1] == 2
    assert run([8.0, 7.0, 7.0, 6.0, 6.0, 6.0, 6.0], tol=0.5, n_iter_no_change=2)[1] == 6


@pytest.mark.parametrize("tol", [-math.inf, 0.0, 0.3])
def test_the_best_theta_is_the_first_of_the_least_watched_loss(tol):
    losses, watched = [9.0, 8, 7, 6, 5, 4], [5.0, 3.0, 2.9, 2.9, 2.9, 2.9]
    progress, _ = run(losses, watched, tol=tol, n_iter_no_change=10)
    assert progress.best() == (np.array([2.0]), 7.0)
    assert progress.best_loss == 2.9
    assert progress.validation_loss_curve == watched
    assert progress.conclude(CONVERGED, "as told") == (CONVERGED, "as told")


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_where_no_watched_loss_is_a_number_the_training_loss_decides(nothing):
    progress, _ = run([5.0, 3.0, 3.0, 4.0], [nothing] * 4, n_iter_no_change=10)
    assert progress.best() == (np.array([1.0]), 3.0)
    assert progress.conclude(CONVERGED, "as told")[0] == FAILED
    progress, _ = run([5.0, 3.0, 4.0, 2.0], [nothing, nothing, 1.0, 2.0], n_iter_no_change=10)
    assert progress.best() == (np.array([2.0]), 4.0)
    assert progress.conclude(CONVERGED, "as told")[0] == CONVERGED


def test_before_any_iteration_the_best_is_the_start():
    theta, loss = run([])[0].best()
    assert (theta.tolist(), loss) == ([-1.0], 100.0)


def test_the_run_ends_at_the_first_window_in_which_the_loss_falls_by_less_than_it_has_to():
    losses = [math.exp(-x) for x in (0.0, 0.6, 1.2, 1.8, 2.1, 2.4, 2.7)]
    for least, end in [(0.55, 5), (0.35, 7), (0.25, None), (0.0, None), (0.65, 4)]:
        assert run(losses, min_decay=least)[1] == end
        if end is not None:  # an earlier run has the first losses
            after, n = run(losses[2:], min_decay=least, earlier_losses=losses[:2])
            assert n == end - 2
            assert f"fell by less than {100 * least:g} % per" in after.message


@pytest.mark.parametrize(
    ("losses", "ends"),
    [
        ([1.0] * 5, True),  # it does not fall at all
        ([1.0, 2.0, 3.0, 4.0, 5.0], False),  # one that grows is another matter
        ([1.0, 0.1, 0.0, 0.0, 0.0], False),  # nothing is left to fall
    ],
)
def test_a_loss_that_does_not_fall(losses, ends):
    assert run(losses, min_decay=1e-3)[1] == (4 if ends else None)
    assert run(losses, min_decay=0.0)[1] is None  # which switches the rule off


def test_without_a_window_no_rule_that_looks_back_ends_the_run():
    progress, n = run([1.0] * 50, n_iter_no_change=math.inf, min_decay=1.0, tol=1.0)
    assert n is None
    assert not progress.has_ended()


def test_the_callback_is_told_of_the_iteration():
    seen = []
    run([3.0, 2.0], [5.0, 4.0], callback=seen.append)
    assert [(it.x[0], it.fun, it.nit, it.validation_loss) for it in seen] == [
        (0, 3.0, 1, 5.0), (1, 2.0, 2, 4.0)
    ]  # fmt: skip
    run([3.0], callback=seen.append)
    assert "validation_loss" not in seen[-1]


def test_an_interrupt_leads_back_to_the_last_record_and_before_the_start_it_is_raised():
    progress = Progress(3)
    with pytest.raises(KeyboardInterrupt), progress.running():
        raise KeyboardInterrupt
    progress = Progress(3, tol=0.0, validation_loss=lambda theta: theta[0])
    with progress.running():
        progress.begin(np.array([9.0]), 9.0)
        progress.record(np.array([1.0]), 2.0, "checkpoint 1")
        progress.record(np.array([2.0]), 1.0, "checkpoint 2")
        assert progress.checkpoint == "checkpoint 2"
        progress.loss_curve.append(0.5)
        progress.validation_loss_curve.append(0.5)
        progress.n_stalled, progress.checkpoint = 7, "checkpoint 3"
        progress.best_loss, progress.best_theta, progress.best_fun = 0.5, np.array([0.5]), 0.5
        raise KeyboardInterrupt
    assert (progress.loss_curve, progress.validation_loss_curve) == ([2.0, 1.0], [1.0, 2.0])
    assert (progress.n_stalled, progress.checkpoint) == (1, "checkpoint 2")
    assert (progress.best_loss, progress.best()) == (1.0, (np.array([1.0]), 2.0))
    assert progress.conclude(CONVERGED, "as told") == (
        98, "Interrupted after 2 iterations; the best of what was found is kept."
    )  # fmt: skip


def test_what_a_run_continues_from_are_its_counts_unless_it_has_stalled():
    progress, n = run([3.0, 4.0, 4.0], [3.0, 4.0, 4.0], tol=0.0)
    assert n is None
    state = progress.state()
    assert (state["best_loss"], state["n_stalled"], state["best_theta"]) == (3.0, 2, np.zeros(1))
    assert (
        run([3.0, 4.0, 4.0], tol=0.0)[0].state()["best_theta"] is None
    )  # the training loss is watched
    progress, n = run([3.0, 4.0, 4.0, 4.0], [3.0, 4.0, 4.0, 4.0], tol=0.0)
    assert n == 4
    assert progress.state() == {"best_loss": math.inf, "best_theta": None, "n_stalled": 0}
