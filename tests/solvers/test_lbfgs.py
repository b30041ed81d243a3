import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from skprop import MLPObjective, minimize_lbfgs
from skprop.solvers import lbfgs

START = np.array([-1.2, 1.0, 0.5])


def rosenbrock(theta):
    return rosen(theta), rosen_der(theta)


def test_it_is_scipys_lbfgs():
    ours = minimize_lbfgs(rosenbrock, START, tol=1e-6)
    theirs = minimize(
        rosenbrock,
        START,
        jac=True,
        method="L-BFGS-B",
        options={"gtol": 1e-6, "ftol": 0, "maxls": 50},
    )
    np.testing.assert_array_equal(ours.x, theirs.x)
    assert (ours.nit, ours.nfev, ours.fun) == (theirs.nit, theirs.nfev, theirs.fun)
    assert ours.success
    assert "within tol=1e-06" in ours.message


def test_the_loss_curve_has_one_entry_an_iteration_and_ends_at_fun():
    result = minimize_lbfgs(rosenbrock, START)
    assert len(result.loss_curve) == result.nit
    assert result.loss_curve[-1] == result.fun == rosen(result.x)
    assert result.loss_curve == sorted(result.loss_curve, reverse=True)


def test_a_start_within_tol_is_returned_unchanged():
    result = minimize_lbfgs(rosenbrock, np.ones(3))
    np.testing.assert_array_equal(result.x, np.ones(3))
    assert (result.nit, result.success, result.loss_curve) == (0, True, [])


@pytest.mark.parametrize("limit", [{"max_iter": 3}, {"max_fun": 5}])
def test_a_limit_is_no_success_and_is_named(limit):
    result = minimize_lbfgs(rosenbrock, START, **limit)
    ((name, value),) = limit.items()
    assert (result.success, result.status) == (False, 1)
    assert f"{name}={value}" in result.message


def test_the_start_is_left_alone_and_theta_is_not_reused():
    start, seen = START.copy(), []

    def objective(theta):
        seen.append(theta)
        return rosenbrock(theta)

    minimize_lbfgs(objective, start)
    np.testing.assert_array_equal(start, START)
    assert len({id(theta.base if theta.base is not None else theta) for theta in seen}) == len(seen)
    np.testing.assert_array_equal(seen[0], START)


def test_float32_is_evaluated_and_returned_in_float32():
    dtypes = set()

    def objective(theta):
        dtypes.add(theta.dtype)
        return rosen(theta), rosen_der(theta).astype(np.float32)

    result = minimize_lbfgs(objective, START.astype(np.float32), tol=1e-2)
    assert dtypes == {np.dtype(np.float32)}
    assert result.x.dtype == np.float32
    assert result.fun == rosen(result.x)


def test_slow_decay_ends_the_run_and_a_run_it_ended_stays_ended():
    def slow(theta):  # near a loss of 1 there is little to gain
        return 1 + 0.1 * rosen(theta), 0.1 * rosen_der(theta)

    result = minimize_lbfgs(slow, START, tol=0, min_decay=1e-3, n_iter_no_change=5)
    curve = result.loss_curve
    assert result.success
    assert "fell by less than 0.1 % per iteration" in result.message
    assert np.log(curve[-6] / curve[-1]) / 5 < 1e-3 <= np.log(curve[-7] / curve[-2]) / 5
    again = minimize_lbfgs(
        slow, result.x, tol=0, min_decay=1e-3, n_iter_no_change=5, loss_curve=curve
    )
    np.testing.assert_array_equal(again.x, result.x)
    assert (again.nit, again.success, again.fun) == (0, True, result.fun)
    assert again.message == result.message


def test_the_validation_loss_decides_when_it_is_given():
    x = np.linspace(-1, 1, 40)[:, None]
    noise = np.random.default_rng(0).normal(size=(2, 40))
    train, held_out = (
        MLPObjective(x, np.sin(3 * x[:, 0]) + 0.5 * e, hidden_layer_sizes=20) for e in noise
    )
    result = minimize_lbfgs(
        train, train.initial_theta(0), validation_loss=held_out.loss, n_iter_no_change=10
    )
    curve = result.validation_loss_curve
    best = int(np.argmin(curve))
    assert len(curve) == len(result.loss_curve) == result.nit
    assert held_out.loss(result.x) == curve[best]
    assert result.fun == result.loss_curve[best] == train.loss(result.x)
    assert "validation loss did not improve" in result.message
    assert result.nit - 1 - best >= 1


def test_the_callback_sees_copies_and_may_stop_the_run():
    seen = []

    def callback(iteration):
        seen.append(iteration.x)
        iteration.x[...] = np.nan
        if iteration.nit == 3:
            raise StopIteration

    result = minimize_lbfgs(rosenbrock, START, callback=callback)
    assert (result.nit, result.success, result.status) == (3, False, 99)
    assert "callback" in result.message
    assert np.isfinite(result.x).all()


def test_no_iterations_are_none_and_say_so():
    result = minimize_lbfgs(rosenbrock, START, max_iter=0)
    np.testing.assert_array_equal(result.x, START)
    assert (result.nit, result.success, result.status) == (0, False, 1)
    assert (result.fun, result.nfev) == (rosen(START), 1)
    assert "max_iter=0" in result.message


def test_a_cliff_in_the_loss_is_stepped_back_from():
    def cliff(theta):
        loss, gradient = rosenbrock(theta)
        return (np.inf, gradient * np.nan) if loss < 1 else (loss, gradient)

    result = minimize_lbfgs(cliff, START)
    assert 1 <= result.fun < rosen(START)
    assert result.fun == rosen(result.x)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_an_infinite_loss_on_the_way_costs_one_evaluation_and_not_the_run(k):
    n_calls = 0

    def once_infinite(theta):
        nonlocal n_calls
        n_calls += 1
        loss, gradient = rosenbrock(theta)
        return (np.inf, gradient * np.nan) if n_calls == k else (loss, gradient)

    result = minimize_lbfgs(once_infinite, START, tol=1e-6)
    assert result.success
    assert result.nfev == n_calls
    np.testing.assert_allclose(result.x, 1, rtol=1e-5)


def test_for_an_infinite_loss_the_line_search_is_told_ten_times_the_best_one_more(monkeypatch):
    told, losses, search = [], [], lbfgs.minimize

    def third_infinite(theta):
        losses.append(rosenbrock(theta)[0])
        return (np.nan if len(losses) == 3 else losses[-1]), rosenbrock(theta)[1]

    def spied(fun, *arguments, **options):
        return search(lambda x: told.append(fun(x)) or told[-1], *arguments, **options)

    monkeypatch.setattr(lbfgs, "minimize", spied)
    assert minimize_lbfgs(third_infinite, START).success
    best = min(told[0][0], told[1][0])
    assert told[2][0] == best + 10 * best
    assert not told[2][1].any()
