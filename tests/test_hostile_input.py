"""Data nobody looked at: a fit succeeds with finite predictions or names what is wrong.

``pytest tests/test_hostile_input.py`` tries 200 cases, with ``--hypothesis-profile=deep`` 20,000
(the profiles are in ``conftest.py``).
"""

import itertools
import re
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from skprop import (
    MLPObjective,
    MLPSigmoidRegressor,
    minimize_adam,
    minimize_lbfgs,
    minimize_lm,
    minimize_sgd,
)

# What a message has to name, one of them at least.
NAMED = re.compile(
    r"\b(X|y|sample_weight|X_val|y_val|theta|theta0|alpha|learning_rate_init|early_stopping)\b"
)
FOLDER, NUMBERS = tempfile.TemporaryDirectory(), itertools.count()  # for memory maps

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EXPONENTS = [-300, -200, -160, -30, -8, 0, 0, 0, 3, 8, 30, 150, 160, 300]
COLUMNS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "constant": lambda rng, n: np.full(n, rng.normal()),
    "zero": lambda rng, n: np.zeros(n),
    "offset": lambda rng, n: 10.0 ** rng.integers(4, 17) + rng.normal(size=n),
    "integers": lambda rng, n: rng.integers(-3, 4, n).astype(float),
    "indicator": lambda rng, n: (rng.random(n) < 0.3).astype(float),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.8, 0.0, rng.normal(size=n)),
    "outlier": lambda rng, n: np.where(np.arange(n) == 0, 10.0 ** rng.integers(3, 9), 1.0),
    "wide range": lambda rng, n: rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-9, 9, n),
}
DTYPES = [
    "float64", "float64", "float64", "float32", "float16", "longdouble", ">f8", ">f4", "int64",
    "uint8", ">i4", "bool", "object",
]  # fmt: skip
FORMS = [
    "array", "array", "Fortran", "every second row", "reversed", "read-only", "memory map", "list",
    "frame", "nullable frame", "csr_array", "csr_matrix", "csc_array", "coo_matrix", "dok_array",
]  # fmt: skip


@st.composite
def tables(draw, n, d):
    """n rows and d columns, of any scale and with repeated columns."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = []
    for _ in range(d):
        if columns and draw(st.integers(0, 4)) == 0:
            columns.append(columns[0] * draw(st.sampled_from([1.0, 1.0, -0.5])))
            continue
        column = COLUMNS[draw(st.sampled_from(list(COLUMNS)))](rng, n)
        with np.errstate(over="ignore"):
            column = column * 10.0 ** draw(st.sampled_from(EXPONENTS))
        columns.append(np.clip(column, -1.7e308, 1.7e308))
    table = np.column_stack(columns)
    if draw(st.integers(0, 19)) == 0:
        bad = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        table[draw(st.integers(0, n - 1)), draw(st.integers(0, d - 1))] = bad
    return table


def converted(table, dtype, form):
    """The table in another dtype and form, as someone may hand it in."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a = np.asarray(table).astype(dtype)
    if form == "Fortran":
        return np.asfortranarray(a)
    if form == "every second row":
        return np.repeat(a, 2, axis=0)[::2]
    if form == "reversed":
        return a[::-1, ::-1] if a.ndim == 2 else a[::-1]
    if form == "read-only":
        a.setflags(write=False)
    elif form == "memory map" and dtype != "object":
        path = f"{FOLDER.name}/{next(NUMBERS)}.npy"
        np.save(path, a)
        return np.load(path, mmap_mode="r")
    elif form == "list":
        return a.tolist()
    elif form == "frame":
        return pd.DataFrame(a.astype(a.dtype.newbyteorder("=")))
    elif form == "nullable frame" and a.dtype.kind in "fiub" and a.dtype.itemsize <= 8:
        frame = pd.DataFrame(a.astype(a.dtype.newbyteorder("=")))
        return frame.convert_dtypes() if a.dtype != np.float16 else frame
    elif a.ndim == 2 and "_" in form and a.dtype.kind in "fiub" and a.dtype.itemsize in (1, 4, 8):
        native = a.astype(a.dtype.newbyteorder("="))
        return getattr(sparse, form)(native)
    return a


@st.composite
def problems(draw):
    """X, y and weights, each in a dtype and a form of its own."""
    n, d = draw(st.sampled_from([1, 2, 3, 10, 30])), draw(st.sampled_from([1, 2, 5]))
    X, y = draw(tables(n, d)), draw(tables(n, draw(st.sampled_from([1, 1, 2]))))
    if y.shape[1] == 1 and draw(st.booleans()):
        y = y[:, 0]
    weight = None
    if draw(st.booleans()):
        weight = np.random.default_rng(n).uniform(0.1, 1, n)
        weight *= 10.0 ** draw(st.sampled_from([-300, -30, 0, 0, 0, 30, 300]))
        weight[: draw(st.integers(0, n))] = draw(st.sampled_from([0.0, 0.0, 0.0, -1.0, np.nan]))
    forms_of_y = ["array", "read-only", "every second row", "list", "memory map"]
    return (
        converted(X, draw(st.sampled_from(DTYPES)), draw(st.sampled_from(FORMS))),
        converted(y, draw(st.sampled_from(DTYPES)), draw(st.sampled_from(forms_of_y))),
        weight,
    )


PARAMETERS = st.fixed_dictionaries(
    {
        "hidden_layer_sizes": st.sampled_from([(), (1,), (3,), (3, 2)]),
        "solver": st.sampled_from(["lbfgs", "lm", "sgd", "adam"]),
        "output_activation": st.sampled_from(["identity", "identity", "sigmoid"]),
        "standardize": st.sampled_from([True, True, True, False]),
        "alpha": st.sampled_from([0.0, 1e-4, 1.0, 1e-300, 1e300]),
        "learning_rate_init": st.sampled_from([1e-2, 1.0, 1e10, 1e300, 1e-300]),
        "batch_size": st.sampled_from(["auto", 1, 7]),
        "early_stopping": st.sampled_from([False, False, True]),
        "max_iter": st.sampled_from([1, 4]),
        "n_iter_no_change": st.sampled_from([1, 25]),
        "tol": st.sampled_from([0.0, 1e-4]),
    }
)


def attempt(call):
    """What ``call`` returns, or None if it refuses its input in words that name it."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        if not NAMED.search(str(error)):
            raise
        return None


@quiet
@given(problem=problems(), parameters=PARAMETERS)
def test_a_fit_gives_finite_predictions_or_names_what_is_wrong(problem, parameters):
    X, y, weight = problem
    model = attempt(
        lambda: MLPSigmoidRegressor(random_state=0, **{"alpha": 1e-4} | parameters).fit(
            X, y, sample_weight=weight
        )
    )
    if model is None:
        return
    assert np.isfinite(model.theta_).all()
    assert np.isfinite(model.loss_)
    assert len(model.loss_curve_) == model.n_iter_
    if parameters["learning_rate_init"] >= 1 and parameters["solver"] in ("sgd", "adam"):
        predicted = attempt(lambda: model.predict(X))  # it may be on its way to infinity
        if predicted is None:
            return
    predicted = model.predict(X)
    assert np.isfinite(predicted).all()
    assert predicted.shape == np.shape(y)
    if parameters["solver"] == "adam" and not parameters["early_stopping"]:
        attempt(lambda: model.partial_fit(X, y))
        assert np.isfinite(model.theta_).all()
    # Rows of another scale: finite too, or refused as too far away.
    other = np.full((2, model.n_features_in_), [[1e300], [-1e-300]])
    predicted = attempt(lambda: model.predict(other))
    assert predicted is None or np.isfinite(predicted).all()


@quiet
@given(problem=problems(), parameters=PARAMETERS, size=st.sampled_from([0, 1, 30, 200, 300, None]))
def test_the_functions_give_finite_results_or_name_what_is_wrong(problem, parameters, size):
    X, y, weight = problem
    names = ("hidden_layer_sizes", "output_activation", "alpha")
    options = {name: parameters[name] for name in names}
    objective = attempt(lambda: MLPObjective(X, y, sample_weight=weight, **options))
    if objective is None:
        return
    theta = objective.initial_theta(0)
    if size is None:
        theta[0] = np.nan
    else:
        theta = theta.astype(np.float64) * 10.0**size
    evaluated = attempt(lambda: objective(theta))
    if evaluated is not None:
        loss, gradient = evaluated
        assert gradient.shape == theta.shape
        assert gradient.dtype == theta.dtype  # that of SciPy, which hands in float64
        assert not loss < 0
    minimize = {
        "lbfgs": minimize_lbfgs, "lm": minimize_lm, "sgd": minimize_sgd, "adam": minimize_adam
    }[parameters["solver"]]  # fmt: skip
    result = attempt(lambda: minimize(objective, theta, max_iter=3))
    if result is not None:
        assert np.isfinite(result.x).all()
        assert result.success <= bool(np.isfinite(result.fun))
        assert len(result.loss_curve) == result.nit
    model = MLPSigmoidRegressor(random_state=0, **{"alpha": 1e-4} | options)
    if attempt(lambda: model.make_objective(X, y, weight)) is None:
        return
    if attempt(lambda: model.set_theta(theta)) is not None:
        predicted = attempt(lambda: model.predict(X))
        assert predicted is None or np.isfinite(predicted).all()
        slopes = attempt(lambda: model.predict_gradient(X))
        assert slopes is None or np.isfinite(slopes).all()
        bends = attempt(lambda: model.predict_hessian(X))
        assert bends is None or np.isfinite(bends).all()
