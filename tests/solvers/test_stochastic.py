import copy
import pickle

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from skprop import MLPObjective, minimize_adam, minimize_sgd

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 3))
Y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=60)
OBJECTIVE = MLPObjective(X, Y, hidden_layer_sizes=6, alpha=0.1)
THETA0 = OBJECTIVE.initial_theta(0)
SOLVERS = {
    "sgd": minimize_sgd,
    "sgd-plain": lambda *a, **k: minimize_sgd(*a, nesterovs_momentum=False, momentum=0.5, **k),
    "sgd-invscaling": lambda *a, **k: minimize_sgd(*a, learning_rate="invscaling", **k),
    "sgd-adaptive": lambda *a, **k: minimize_sgd(*a, learning_rate="adaptive", **k),
    "adam": minimize_adam,
}
each_solver = pytest.mark.parametrize("minimize", SOLVERS.values(), ids=SOLVERS)


class Quadratic:
    """½ ‖θ − c_s‖² for each row s: every step can be worked out by hand."""

    def __init__(self, centres):
        self.centres, self.n_samples = np.asarray(centres), len(centres)

    def __call__(self, theta, rows=slice(None)):
        difference = theta - self.centres[rows]
        return 0.5 * np.mean(np.sum(difference**2, axis=1)), difference.mean(axis=0)

    def loss(self, theta):
        return self(theta)[0]


ONE = Quadratic([[0.0]])


def path(minimize, n, objective=ONE, theta0=(1.0,), **options):
    """θ after each of n epochs."""
    thetas = []
    minimize(
        objective,
        np.array(theta0),
        max_iter=n,
        n_iter_no_change=n + 1,
        callback=lambda iteration: thetas.append(iteration.x),
        **options,
    )
    return np.concatenate(thetas)


def test_plain_sgd_is_a_step_along_the_gradient():
    thetas = path(minimize_sgd, 3, momentum=0.0, nesterovs_momentum=False, learning_rate_init=0.1)
    np.testing.assert_allclose(thetas, [0.9, 0.81, 0.729], rtol=1e-14)


def test_momentum_is_the_heavy_ball():
    thetas = path(minimize_sgd, 3, momentum=0.5, nesterovs_momentum=False, learning_rate_init=0.1)
    theta, v, expected = 1.0, 0.0, []
    for _ in range(3):
        v = 0.5 * v - 0.1 * theta
        theta += v
        expected.append(theta)
    np.testing.assert_allclose(thetas, expected, rtol=1e-14)


def test_nesterov_looks_ahead():
    thetas = path(minimize_sgd, 3, momentum=0.5, learning_rate_init=0.1)
    theta, v, expected = 1.0, 0.0, []
    for _ in range(3):
        g = theta
        v = 0.5 * v - 0.1 * g
        theta += 0.5 * v - 0.1 * g
        expected.append(theta)
    np.testing.assert_allclose(thetas, expected, rtol=1e-14)


def test_invscaling_divides_by_a_power_of_the_step():
    thetas = path(
        minimize_sgd, 3, momentum=0.0, learning_rate="invscaling", power_t=1.0,
        learning_rate_init=0.1,
    )  # fmt: skip
    np.testing.assert_allclose(thetas, np.cumprod(1 - 0.1 / np.array([1, 2, 3])), rtol=1e-14)


def test_adam_is_algorithm_1_of_its_paper():
    thetas = path(minimize_adam, 5, learning_rate_init=0.1, beta_1=0.8, beta_2=0.9, epsilon=0.0)
    theta, m, v, expected = 1.0, 0.0, 0.0, []
    for t in range(1, 6):
        g = theta
        m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g * g
        theta -= 0.1 * (m / (1 - 0.8**t)) / np.sqrt(v / (1 - 0.9**t))
        expected.append(theta)
    np.testing.assert_allclose(thetas, expected, rtol=1e-12)


def test_adaptive_divides_by_five_at_a_stall_and_ends_when_nothing_is_left():
    centres = Quadratic([[-1.0], [1.0]])  # at its minimum from the start: it never improves
    result = minimize_sgd(
        centres, np.zeros(1), learning_rate="adaptive", n_iter_no_change=2, max_iter=500,
        learning_rate_init=0.01,
    )  # fmt: skip
    assert result.success
    n_cuts = int(np.ceil(np.log(0.01 / 1e-6) / np.log(5)))
    assert result.state["learning_rate_scale"] == pytest.approx(5.0**-n_cuts)
    assert result.nit == 1 + 2 * (n_cuts + 1)


@pytest.mark.parametrize(("rate", "n_cuts"), [(1e-6, 0), (1.5e-6, 1), (5.5e-6, 2)])
def test_adaptive_ends_at_the_stall_after_the_rate_has_fallen_to_a_millionth(rate, n_cuts):
    centres = Quadratic([[-1.0], [1.0]])
    result = minimize_sgd(
        centres, np.zeros(1), learning_rate="adaptive", n_iter_no_change=2, max_iter=50,
        learning_rate_init=rate,
    )  # fmt: skip
    assert result.success
    assert result.nit == 1 + 2 * (n_cuts + 1)
    assert result.state["learning_rate_scale"] == pytest.approx(5.0**-n_cuts)


@each_solver
def test_it_fits(minimize):
    result = minimize(OBJECTIVE, THETA0, batch_size=10, learning_rate_init=0.05, random_state=0)
    assert result.fun < 0.5 * OBJECTIVE.loss(THETA0)
    assert result.fun == OBJECTIVE.loss(result.x)
    assert result.nfev == 6 * result.nit
    assert len(result.loss_curve) == result.nit


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("batch_size", [20, 25, 60])
def test_unshuffled_steps_are_those_of_mlp_regressor(solver, batch_size):
    """Ours is the same function of θ for one output, so the paths agree to rounding."""
    theirs = MLPRegressor(
        hidden_layer_sizes=6, activation="logistic", solver=solver, alpha=0.0, shuffle=False,
        batch_size=batch_size, max_iter=1, random_state=0, learning_rate_init=0.05,
    )  # fmt: skip
    for _ in range(5):
        theirs.partial_fit(X, Y)
    objective = MLPObjective(X, Y, hidden_layer_sizes=6)
    minimize = {"sgd": minimize_sgd, "adam": minimize_adam}[solver]
    result = minimize(
        objective, THETA0, batch_size=batch_size, max_iter=5, shuffle=False, learning_rate_init=0.05
    )
    ours = objective.unpack(result.x)
    for (A, b), A_ref, b_ref in zip(ours, theirs.coefs_, theirs.intercepts_, strict=True):
        np.testing.assert_allclose(A, A_ref, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(b, b_ref, rtol=1e-9, atol=1e-12)


@each_solver
def test_every_epoch_visits_every_row_once_in_a_new_order(minimize):
    visits = []

    class Spy(Quadratic):
        def __call__(self, theta, rows=slice(None)):
            if not isinstance(rows, slice):
                visits.append(np.array(rows))
            return super().__call__(theta, rows)

    minimize(Spy(np.zeros((10, 1))), np.ones(1), batch_size=4, max_iter=3, random_state=0)
    assert [len(v) for v in visits] == [4, 4, 2] * 3
    epochs = [tuple(np.concatenate(visits[i : i + 3])) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(epochs)) == 3


@each_solver
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_continued_run_is_one_run_to_the_last_bit(minimize, dtype):
    objective = MLPObjective(X.astype(dtype), Y, hidden_layer_sizes=6)
    options = {"batch_size": 7, "n_iter_no_change": 3, "tol": 1e-3, "learning_rate_init": 0.05}
    theta0 = objective.initial_theta(0)
    once = minimize(objective, theta0, max_iter=9, random_state=4, **options)
    first = minimize(objective, theta0, max_iter=4, random_state=4, **options)
    state = pickle.loads(pickle.dumps(first.state))
    kept = copy.deepcopy(state)
    then = minimize(objective, None, max_iter=5, state=state, **options)
    assert then.x.dtype == dtype
    np.testing.assert_array_equal(then.x, once.x)
    assert first.loss_curve + then.loss_curve == once.loss_curve
    assert (first.nfev, then.nfev, once.nfev) == (4 * 9, 5 * 9, 9 * 9)
    np.testing.assert_equal(state, kept)  # a state is not used up


@each_solver
def test_the_same_seed_gives_the_same_bits(minimize):
    runs = [
        minimize(OBJECTIVE, THETA0, batch_size=7, max_iter=5, random_state=s) for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(runs[0].x, runs[1].x)
    assert (runs[0].x != runs[2].x).any()


@each_solver
def test_the_start_is_left_alone(minimize):
    start = THETA0.copy()
    minimize(OBJECTIVE, start, max_iter=2)
    np.testing.assert_array_equal(start, THETA0)


@each_solver
def test_a_stall_is_a_success_and_the_limit_is_not(minimize):
    stalled = minimize(OBJECTIVE, THETA0, tol=1e9, n_iter_no_change=3)
    assert stalled.success
    if minimize is SOLVERS["sgd-adaptive"]:
        assert stalled.nit > 4  # it goes on at a lower rate
    else:
        assert stalled.nit == 4
    assert "did not improve by more than tol=1e+09 in 3 iterations" in stalled.message
    limited = minimize(OBJECTIVE, THETA0, max_iter=2)
    assert (limited.success, limited.status, limited.nit) == (False, 1, 2)
    assert "max_iter=2" in limited.message


@each_solver
def test_no_iterations_are_none_and_say_so(minimize):
    result = minimize(OBJECTIVE, THETA0, max_iter=0)
    np.testing.assert_array_equal(result.x, THETA0)
    assert (result.nit, result.success, result.status) == (0, False, 1)
    assert "max_iter=0" in result.message


@each_solver
def test_the_validation_loss_decides_when_it_is_given(minimize):
    held_out = MLPObjective(X[:20], -Y[:20], hidden_layer_sizes=6)  # training makes it worse
    train = MLPObjective(X[20:], Y[20:], hidden_layer_sizes=6)
    result = minimize(
        train, THETA0, validation_loss=held_out.loss, n_iter_no_change=3, learning_rate_init=0.05,
        max_iter=60,
    )  # fmt: skip
    curve = result.validation_loss_curve
    assert len(curve) == result.nit
    assert held_out.loss(result.x) == min(curve)
    assert result.fun == train.loss(result.x)
    assert (result.state["theta"] != result.x).any()  # the run would go on from the last θ


@each_solver
def test_divergence_returns_the_best_theta_and_names_the_learning_rate(minimize):
    result = minimize(OBJECTIVE, THETA0, learning_rate_init=1e300, batch_size=10)
    assert (result.success, result.status) == (False, 2)
    assert "learning_rate_init=1e+300 is too large" in result.message
    assert np.isfinite(result.x).all()
    assert np.isfinite(result.fun)


def test_the_callback_may_stop_the_run():
    def callback(iteration):
        if iteration.nit == 3:
            raise StopIteration

    result = minimize_adam(OBJECTIVE, THETA0, callback=callback)
    assert (result.nit, result.success, result.status) == (3, False, 99)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="learning_rate='cosine'"):
        minimize_sgd(OBJECTIVE, THETA0, learning_rate="cosine")


@pytest.mark.parametrize("learning_rate_init", [10.0, 1e4, 1e200])
def test_a_run_that_ends_above_its_start_has_diverged_and_gives_the_start_back(learning_rate_init):
    for minimize in (minimize_sgd, minimize_adam):
        start = OBJECTIVE.loss(THETA0)
        result = minimize(
            OBJECTIVE, THETA0, learning_rate_init=learning_rate_init, tol=0, max_iter=3000,
            batch_size=10, random_state=0, n_iter_no_change=5,
        )  # fmt: skip
        assert result.fun <= start
        assert result.fun == OBJECTIVE.loss(result.x)
        if not result.success:
            assert result.status == 2
            assert result.state is None
        if minimize is minimize_sgd:
            assert not result.success


@pytest.mark.parametrize("watched", ["training", "validation"])
def test_a_continued_run_goes_on_counting_iterations_without_improvement(watched):
    options = {"batch_size": 10, "n_iter_no_change": 5, "tol": 1e9, "max_iter": 100}
    if watched == "validation":  # the loss grows, so the best θ is that of the first run

        def distance(theta):
            return np.linalg.norm(theta - THETA0)

        options |= {"tol": 0, "validation_loss": distance}
    once = minimize_adam(OBJECTIVE, THETA0, random_state=0, **options)
    first = minimize_adam(OBJECTIVE, THETA0, random_state=0, **options | {"max_iter": 4})
    then = minimize_adam(OBJECTIVE, None, state=first.state, **options)
    assert first.nit + then.nit == once.nit == 6
    np.testing.assert_array_equal(then.x, once.x)


def test_a_continued_run_forgets_its_best_loss_where_the_data_are_new():
    first = minimize_adam(OBJECTIVE, THETA0, max_iter=50, random_state=0)
    harder = MLPObjective(X, 5 * Y**2, hidden_layer_sizes=6)
    then = minimize_adam(harder, None, state=first.state, max_iter=60, n_iter_no_change=10)
    assert then.nit > 11  # it would not have beaten the loss of the easier problem
    assert then.fun < 0.9 * harder.loss(first.x)
    short = minimize_adam(harder, None, state=first.state, max_iter=2)
    assert short.state["best_loss"] == min(short.loss_curve)
    watched = minimize_adam(
        OBJECTIVE, None, state=first.state, max_iter=5, validation_loss=harder.loss
    )
    assert harder.loss(watched.x) == min(watched.validation_loss_curve)


@each_solver
def test_an_interrupt_in_the_first_epoch_leaves_the_state_of_before(minimize):
    """A new run has none; one that continues another gives the bits of one never interrupted."""

    class Interrupted(MLPObjective):
        calls = 0

        def __call__(self, theta, rows=None):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().__call__(theta, rows)

    def interrupted(theta0, state):
        objective = Interrupted(X, Y, hidden_layer_sizes=6, alpha=0.1)
        return minimize(objective, theta0, batch_size=10, random_state=0, state=state)

    new = interrupted(THETA0, None)
    assert (new.nit, new.status, new.state) == (0, 98, None)
    assert new.fun == OBJECTIVE.loss(new.x) <= OBJECTIVE.loss(THETA0)
    before = minimize(OBJECTIVE, THETA0, batch_size=10, random_state=0, max_iter=2)
    resumed = interrupted(None, before.state)
    assert (resumed.nit, resumed.status) == (0, 98)
    runs = [
        minimize(OBJECTIVE, None, batch_size=10, state=state, max_iter=3)
        for state in (before.state, resumed.state)
    ]
    np.testing.assert_array_equal(runs[1].x, runs[0].x)
    assert runs[1].loss_curve == runs[0].loss_curve


def test_a_stream_of_runs_of_one_epoch_is_spared_evaluations_of_all_rows(monkeypatch):
    state, losses, loss = minimize_adam(OBJECTIVE, THETA0, max_iter=1).state, [], OBJECTIVE.loss
    monkeypatch.setattr(OBJECTIVE, "loss", lambda theta: losses.append(theta) or loss(theta))
    result = minimize_adam(OBJECTIVE, None, state=state, max_iter=1)
    assert result.fun == loss(result.x)
    assert len(losses) == 1  # the loss at the end


@each_solver
def test_a_run_that_has_stalled_is_continued_as_a_new_one(minimize):
    options = {"tol": 1e9, "n_iter_no_change": 3, "max_iter": 200, "learning_rate_init": 1e-6}
    first = minimize(OBJECTIVE, THETA0, **options)
    again = minimize(OBJECTIVE, None, state=first.state, **options)
    assert first.success
    assert again.success
    assert first.nit == again.nit == 4


def test_a_state_of_another_solver_is_refused():
    state = minimize_adam(OBJECTIVE, THETA0, max_iter=1).state
    with pytest.raises(ValueError, match="another solver"):
        minimize_sgd(OBJECTIVE, None, state=state)


@each_solver
@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "all", None])
def test_a_bad_batch_size_is_named(minimize, batch_size):
    with pytest.raises(ValueError, match="batch_size="):
        minimize(OBJECTIVE, THETA0, batch_size=batch_size)


@each_solver
def test_a_start_of_integers_is_taken_as_floats(minimize):
    result = minimize(OBJECTIVE, np.ones(len(THETA0), dtype=int), max_iter=2)
    assert result.x.dtype == np.float64
