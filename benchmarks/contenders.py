"""Loss and gradient, steps, fits and predictions of skprop and its peers, from the same start.

Each function returns a callable to be timed, or None where its package is not installed.
"""

import importlib.util
import itertools
import warnings

import joblib
import numpy as np
from scipy.linalg import lapack
from sklearn.base import clone
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from skprop import MLPObjective, MLPSigmoidRegressor, minimize_adam, minimize_sgd

ALPHA = 1e-4
HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_JAX = importlib.util.find_spec("jax") is not None


def problem(n, d, outputs, dtype=np.float64, seed=0):
    """Rows of a smooth function with noise, in standard units."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d), dtype=np.float32).astype(dtype)
    y = (
        np.sin(X[:, :outputs])
        + 0.5 * X[:, -outputs:] ** 2
        + 0.1 * rng.standard_normal((n, outputs))
    )
    y = ((y - 0.5) / 1.2).astype(dtype)
    return X, y[:, 0] if outputs == 1 else y


# ---- loss + gradient -------------------------------------------------------------------


def evaluate_skprop(X, y, hidden):
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden, alpha=ALPHA)
    theta = objective.initial_theta(0)
    return lambda: objective(theta)


def slopes_of(X, y):
    """Slopes for `problem`: of the right size, which is all that an evaluation asks of them."""
    rng = np.random.default_rng(1)
    shape = (len(y), y.reshape(len(y), -1).shape[1], X.shape[1])
    return rng.standard_normal(shape, dtype=np.float32).astype(X.dtype)


def evaluate_skprop_slopes(X, y, hidden):
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden, alpha=ALPHA, dydx=slopes_of(X, y))
    theta = objective.initial_theta(0)
    return lambda: objective(theta)


class _Recorder(MLPRegressor):
    """Remembers with what L-BFGS calls its loss and gradient."""

    def _loss_grad_lbfgs(self, *arguments):
        self.recorded = arguments
        return super()._loss_grad_lbfgs(*arguments)


def mlp_regressor(hidden, kind=MLPRegressor, **parameters):
    return kind(
        hidden_layer_sizes=hidden, activation="logistic", alpha=ALPHA, random_state=0, **parameters
    )


def evaluate_sklearn(X, y, hidden):
    model = mlp_regressor(hidden, _Recorder, solver="lbfgs", max_iter=1, tol=1e9).fit(X, y)
    return lambda: model._loss_grad_lbfgs(*model.recorded)


def torch_network(d, hidden, outputs, dtype):
    import torch
    from torch import nn

    torch.manual_seed(0)
    sizes, layers = [d, *hidden], []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Sigmoid()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))
    return network.to(torch.float32 if dtype == np.float32 else torch.float64)


def torch_loss(network, X, y):
    penalty = sum((p * p).sum() for p in network.parameters() if p.ndim == 2)
    return (((network(X) - y) ** 2).sum() + ALPHA * penalty) / (2 * len(X))


def evaluate_torch(X, y, hidden):
    if not HAS_TORCH:
        return None
    import torch

    network = torch_network(X.shape[1], hidden, y.reshape(len(y), -1).shape[1], X.dtype)
    X, y = torch.from_numpy(X), torch.from_numpy(y.reshape(len(y), -1))

    def evaluate():
        network.zero_grad(set_to_none=True)
        loss = torch_loss(network, X, y)
        loss.backward()
        return loss.item()  # the gradient stays in torch's hands

    return evaluate


def jax_loss(X, y, hidden):
    """The loss as a function of [(A_0, b_0), …], and two such points."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden)
    points = [
        [(jnp.asarray(A), jnp.asarray(b)) for A, b in objective.unpack(objective.initial_theta(k))]
        for k in (0, 1)
    ]
    X, y = jnp.asarray(X), jnp.asarray(y.reshape(len(y), -1))

    def loss(params):
        f = X
        for A, b in params[:-1]:
            f = jax.nn.sigmoid(f @ A + b)
        A, b = params[-1]
        penalty = sum((A * A).sum() for A, _ in params)
        return (((f @ A + b - y) ** 2).sum() + ALPHA * penalty) / (2 * len(X))

    return loss, *points


def evaluate_jax(X, y, hidden):
    if not HAS_JAX:
        return None
    import jax

    loss, params, _ = jax_loss(X, y, hidden)
    value_and_grad = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(value_and_grad(params))


def evaluate_jax_slopes(X, y, hidden):
    """The gradient of the loss with the slopes of each row, which are by reverse mode, jitted."""
    if not HAS_JAX:
        return None
    import jax
    import jax.numpy as jnp

    loss, params, _ = jax_loss(X, y, hidden)
    x, slopes = jnp.asarray(X), jnp.asarray(slopes_of(X, y))

    def outputs(params, x):
        for A, b in params[:-1]:
            x = jax.nn.sigmoid(x @ A + b)
        A, b = params[-1]
        return x @ A + b

    def with_slopes(params):
        found = jax.vmap(jax.jacrev(outputs, argnums=1), (None, 0))(params, x)
        return loss(params) + ((found - slopes) ** 2).sum() / (2 * len(x))

    value_and_grad = jax.jit(jax.value_and_grad(with_slopes))
    return lambda: jax.block_until_ready(value_and_grad(params))


# ---- Hessian–vector products -------------------------------------------------------------


def hessp_skprop(X, y, hidden):
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden, alpha=ALPHA)
    thetas = itertools.cycle([objective.initial_theta(0), objective.initial_theta(2)])
    v = objective.initial_theta(1)
    return lambda: objective.hessp(next(thetas), v)


def hessp_skprop_further(X, y, hidden):
    """One more direction at the θ of the product before, as the solvers of SciPy ask for them."""
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden, alpha=ALPHA)
    theta, v = objective.initial_theta(0), objective.initial_theta(1)
    return lambda: objective.hessp(theta, v)


def hessp_jax(X, y, hidden):
    """Forward over reverse: `jvp` of `grad`, jitted."""
    if not HAS_JAX:
        return None
    import jax

    loss, params, v = jax_loss(X, y, hidden)
    product = jax.jit(lambda params, v: jax.jvp(jax.grad(loss), (params,), (v,))[1])
    return lambda: jax.block_until_ready(product(params, v))


def hessp_jax_further(X, y, hidden):
    """The derivative of the gradient at one θ, linearised once, and jitted."""
    if not HAS_JAX:
        return None
    import jax

    loss, params, v = jax_loss(X, y, hidden)
    product = jax.jit(jax.linearize(jax.grad(loss), params)[1])
    return lambda: jax.block_until_ready(product(v))


def evaluate_floor(X, y, hidden):
    """The bare products and one tanh a hidden unit, in blocks of 512 rows, on one thread."""
    sizes = (X.shape[1], *hidden, y.reshape(len(y), -1).shape[1])
    K, m = len(sizes) - 1, 512
    rng = np.random.default_rng(0)
    A = [rng.standard_normal((a, b)).astype(X.dtype) for a, b in itertools.pairwise(sizes)]
    f = [np.zeros((m, d), X.dtype) for d in sizes]
    G = [np.empty_like(a) for a in A]

    def evaluate():
        for start in range(0, len(X), m):
            x = X[start : start + m]
            t = [x, *(a[: len(x)] for a in f[1:])]
            for i in range(K):
                np.matmul(t[i], A[i], out=t[i + 1])
                if i < K - 1:
                    np.tanh(t[i + 1], out=t[i + 1])
            for i in range(K - 1, -1, -1):
                np.matmul(t[i].T, t[i + 1], out=G[i])
                if i > 0:
                    np.matmul(t[i + 1], A[i].T, out=t[i])

    return evaluate


# ---- steps -----------------------------------------------------------------------------

N_BATCHES = 40


def steps_skprop(solver, d, hidden, batch):
    X, y = problem(N_BATCHES * batch, d, 1)
    objective = MLPObjective(X, y, hidden_layer_sizes=hidden, alpha=ALPHA)
    theta0 = objective.initial_theta(0)
    minimize = {"adam": minimize_adam, "sgd": minimize_sgd}[solver]
    options = {"batch_size": batch, "learning_rate_init": 1e-3, "random_state": 0, "max_iter": 3}
    return lambda: minimize(objective, theta0, **options), 3 * N_BATCHES


def steps_sklearn(solver, d, hidden, batch):
    X, y = problem(N_BATCHES * batch, d, 1)
    model = mlp_regressor(hidden, solver=solver, batch_size=batch, learning_rate_init=1e-3)
    return lambda: model.partial_fit(X, y), N_BATCHES


def steps_torch(solver, d, hidden, batch):
    if not HAS_TORCH:
        return None
    import torch

    X, y = problem(N_BATCHES * batch, d, 1)
    network = torch_network(d, hidden, 1, X.dtype)
    X, y = torch.from_numpy(X), torch.from_numpy(y[:, None])
    if solver == "adam":
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True)

    def epoch():
        order = torch.randperm(len(X))
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]
            optimizer.zero_grad(set_to_none=True)
            torch_loss(network, X[rows], y[rows]).backward()
            optimizer.step()

    return epoch, N_BATCHES


# ---- fits and predictions --------------------------------------------------------------


def fit_skprop(hidden, n_iter):
    """L-BFGS on data in standard units, stopped by the number of iterations alone."""
    return MLPSigmoidRegressor(
        hidden, alpha=ALPHA, max_iter=n_iter, tol=0.0, random_state=0, standardize=False
    )


def fit_evidence(hidden, n_iter):
    return fit_skprop(hidden, n_iter).set_params(alpha="evidence")


def evidence_floor(n, P):
    """In P × P: JᵀJ, the factors of a step and of a posterior, and the inverse of one."""
    J = np.random.default_rng(0).standard_normal((P, n))
    H = (J @ J.T + np.eye(P)).T

    def floor():
        np.matmul(J, J.T)
        lapack.dpotrf(H, lower=1)
        L, _ = lapack.dpotrf(H, lower=1)
        lapack.dtrtri(L, lower=1)

    return floor


COMMITTEES = {"evidence": {"alpha": "evidence"}, "lbfgs": {}, "adam": {"solver": "adam"}}


def committee_fits(kind, X, y, hidden, n_iter, n_threads):
    """Five members as a committee, and as five fits: in turn on one core, and by joblib."""
    members = [fit_skprop(hidden, n_iter).set_params(random_state=k) for k in range(5)]
    for model in members:
        model.set_params(**COMMITTEES[kind])
    committee = clone(members[0]).set_params(n_members=len(members))
    parallel, fit_in_worker = joblib.Parallel(n_jobs=n_threads), joblib.delayed(_fit_silently)

    def on_one(fit):
        with threadpool_limits(1):
            fit()

    def in_turn():
        for model in members:
            model.fit(X, y)

    return {
        "skprop": lambda: committee.fit(X, y),
        "five fits on one core": lambda: on_one(in_turn),
        "committee on one core": lambda: on_one(lambda: committee.fit(X, y)),
        "in processes": lambda: parallel(fit_in_worker(model, X, y) for model in members),
    }


def _fit_silently(model, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y)


def fit_sklearn(hidden, n_iter):
    return mlp_regressor(hidden, solver="lbfgs", max_iter=n_iter, tol=0.0)
