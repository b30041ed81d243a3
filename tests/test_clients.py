"""What docs/works_with.md says of other packages; each test is for those who have the package.

``python -m pip install -e ".[test,clients]"`` installs them all, and ``python -m pytest
tests/test_clients.py -rs`` says which were not there.
"""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import MLPSigmoidRegressor, feature_importances
from skprop.export import to_json

pytestmark = pytest.mark.filterwarnings("default")  # what other packages warn of is not ours

ROOT = Path(__file__).parents[1]
X, Y = load_diabetes(return_X_y=True)


def network(**parameters):
    return MLPSigmoidRegressor(
        **{"hidden_layer_sizes": 5, "alpha": 1.0, "random_state": 0} | parameters
    )


def folded(model):
    """Its graph for optimisers."""
    pytest.importorskip("skl2onnx")
    from skprop.onnx import to_onnx

    return to_onnx(model, X[:1], options={MLPSigmoidRegressor: {"fold": True}})


def python_of(page, beginning):
    """The block of Python on a page of the documentation that begins so."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.+?)^```", text, re.DOTALL | re.MULTILINE)
    return next(block for block in blocks if block.startswith(beginning))


# ---- the table -----------------------------------------------------------------------------


def rows_of_the_table():
    text = (ROOT / "docs" / "works_with.md").read_text(encoding="utf-8")
    for line in re.findall(r"^\| (.+) \|$", text, re.MULTILINE):
        cells = line.split(" | ")
        if len(cells) == 4 and cells[3] != "test" and not set(cells[0]) <= {"-", "|"}:
            yield cells


def test_each_row_of_the_table_names_a_test_or_a_reason():
    rows = list(rows_of_the_table())
    assert len(rows) >= 41
    tests = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").glob("test_*.py"))
    for _, _, how, shown_by in rows:
        if shown_by == "–":
            assert how.startswith("no: ")
        names = re.findall(r"`(test_\w+)`", shown_by)
        assert names or shown_by == "–", shown_by
        for name in names:
            assert f"\ndef {name}(" in tests, name


# ---- to keep and to serve ------------------------------------------------------------------


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("mlflow.sklearn")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    model = make_pipeline(StandardScaler(), network()).fit(X, Y)
    namespace = {"mlflow": mlflow, "model": model}
    exec(python_of("persistence.md", "import mlflow"), namespace)
    loaded = namespace["loaded"]
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    std = loaded.predict(X, return_std=True)[1]
    np.testing.assert_array_equal(std, model.predict(X, return_std=True)[1])
    with mlflow.start_run(), pytest.raises(mlflow.MlflowException, match="trusted"):
        mlflow.sklearn.log_model(model, name="without", serialization_format="skops")


# ---- optimisers that take a network --------------------------------------------------------


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
def test_omlt(output_activation, n_members):
    pytest.importorskip("omlt")
    pyomo = pytest.importorskip("pyomo.environ")
    from omlt import OmltBlock
    from omlt.io.onnx import load_onnx_neural_network
    from omlt.neuralnet import ReducedSpaceSmoothNNFormulation

    model = network(output_activation=output_activation, n_members=n_members)
    model.fit(X, np.c_[Y, Y**2])
    bounds = dict(enumerate(zip(X.min(axis=0), X.max(axis=0), strict=True)))
    net = load_onnx_neural_network(folded(model), input_bounds=bounds)
    problem = pyomo.ConcreteModel()
    problem.net = OmltBlock()
    problem.net.build_formulation(ReducedSpaceSmoothNNFormulation(net))
    constraints = list(problem.component_data_objects(pyomo.Constraint))
    assert sum(constraint.equality for constraint in constraints) >= 2
    for x in X[:5]:
        for i, value in enumerate(x):
            problem.net.inputs[i].value = problem.net.scaled_inputs[i].value = float(value)
        for k, value in enumerate(model.predict(x[None])[0]):
            problem.net.outputs[k].value = problem.net.scaled_outputs[k].value = float(value)
        for constraint in constraints:  # y = f(x), and the bounds of x
            body = pyomo.value(constraint.body)
            assert constraint.lower is None or body >= pyomo.value(constraint.lower) - 1e-9
            assert constraint.upper is None or body <= pyomo.value(constraint.upper) + 1e-9
        problem.net.scaled_outputs[0].value += 1e-3
        assert any(
            abs(pyomo.value(constraint.body) - pyomo.value(constraint.upper)) > 1e-4
            for constraint in constraints
            if constraint.equality
        )


def test_omlt_reads_no_graph_that_is_not_folded():
    pytest.importorskip("omlt")
    pytest.importorskip("skl2onnx")
    from omlt.io.onnx import load_onnx_neural_network

    from skprop.onnx import to_onnx

    with pytest.raises(ValueError, match="Sub"):
        load_onnx_neural_network(to_onnx(network().fit(X, Y), X[:1]))


def casadi_expression(model):
    namespace = {"graph": folded(model)}
    exec(python_of("export.md", "import casadi"), namespace)
    return namespace["casadi"], namespace["x"], namespace["y"]


@pytest.mark.parametrize("n_members", [1, 3])
def test_do_mpc_and_casadi(n_members):
    pytest.importorskip("casadi")
    pytest.importorskip("do_mpc")
    model = network(n_members=n_members).fit(X, Y)
    casadi, x, y = casadi_expression(model)
    function = casadi.Function("f", [x], [y, casadi.jacobian(y, x)])
    for row in X[:5]:
        value, slope = function(row[None])
        np.testing.assert_allclose(float(value), model.predict(row[None])[0], rtol=1e-12)
        expected = model.predict_gradient(row[None])[0]
        np.testing.assert_allclose(
            np.asarray(slope)[0], expected, rtol=0, atol=1e-10 * np.abs(expected).max()
        )


def test_an_optimum_found_by_casadi():
    pytest.importorskip("casadi")
    pytest.importorskip("do_mpc")
    model = network().fit(X, Y)
    casadi, x, y = casadi_expression(model)
    solver = casadi.nlpsol(
        "s", "ipopt", {"x": x.T, "f": y}, {"ipopt.print_level": 0, "print_time": False}
    )
    low, high = X.min(axis=0), X.max(axis=0)
    found = solver(x0=X.mean(axis=0), lbx=low, ubx=high)
    at = np.asarray(found["x"]).T
    np.testing.assert_allclose(float(found["f"]), model.predict(at)[0], rtol=1e-9)
    assert model.predict(at)[0] < model.predict(X).min()


@pytest.mark.parametrize("output_activation", ["identity", "sigmoid"])
def test_gurobi(output_activation):
    gurobipy = pytest.importorskip("gurobipy")
    rows = X[:, [2, 8]]
    model = network(hidden_layer_sizes=2, output_activation=output_activation).fit(rows, Y)
    namespace = {}
    exec(python_of("export.md", "import gurobipy"), namespace)
    try:
        problem = gurobipy.Model()
    except gurobipy.GurobiError as error:
        pytest.skip(f"no licence: {error}")
    problem.Params.OutputFlag = 0
    problem.Params.TimeLimit = 60
    low, high = rows.min(axis=0), rows.max(axis=0)
    x = problem.addVars(2, lb=low, ub=high).values()
    (y,) = namespace["add_network"](problem, json.loads(to_json(model)), x)
    problem.setObjective(y)
    problem.optimize()
    at = np.array([[variable.X for variable in x]])
    np.testing.assert_allclose(problem.ObjVal, model.predict(at)[0], rtol=1e-4)
    grid = np.stack(np.meshgrid(*np.linspace(low, high, 50).T), axis=-1).reshape(-1, 2)
    assert problem.ObjVal < model.predict(grid).min() + 1e-3 * np.ptp(Y)


def test_gurobi_ml_still_takes_relu_alone():
    pytest.importorskip("gurobi_ml")
    gurobipy = pytest.importorskip("gurobipy")
    from gurobi_ml.exceptions import ModelConfigurationError
    from gurobi_ml.onnx import add_onnx_constr

    try:
        problem = gurobipy.Model()
    except gurobipy.GurobiError as error:
        pytest.skip(f"no licence: {error}")
    x = problem.addMVar((1, 10), lb=-1, ub=1)
    with pytest.raises(ModelConfigurationError, match="Sigmoid"):
        add_onnx_constr(problem, folded(network().fit(X, Y)), x)


# ---- searches ------------------------------------------------------------------------------


def test_optuna_with_pruning():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    train_val = train_test_split(X, Y, random_state=0)
    namespace = dict(zip(("X_train", "X_val", "y_train", "y_val"), train_val, strict=True))
    exec(python_of("works_with.md", "import optuna"), namespace)
    study = namespace["study"]
    states = [trial.state.name for trial in study.trials]
    assert {"COMPLETE", "PRUNED"} == set(states)
    assert study.best_value > 0.3


def test_skopt_searches_parameters():
    skopt = pytest.importorskip("skopt")
    space = {"alpha": (1e-3, 10.0, "log-uniform"), "hidden_layer_sizes": (2, 20)}
    search = skopt.BayesSearchCV(network(), space, n_iter=5, cv=3, random_state=0).fit(X, Y)
    assert search.best_score_ > 0.4


def test_a_surrogate_of_skopt():
    pytest.importorskip("skopt")
    namespace = {}
    exec(python_of("works_with.md", "from skopt import"), namespace)
    found, surrogate = namespace["found"], namespace["surrogate"]
    assert np.abs(np.array(found.x) - [0.5, -0.3]).max() < 0.2
    assert surrogate.alpha == "evidence"
    rng = np.random.default_rng(0)
    at_random = [namespace["costly"](p) for p in rng.uniform(-2, 2, size=(len(found.func_vals), 2))]
    assert found.fun < min(at_random)


# ---- intervals and explanations ------------------------------------------------------------


def test_mapie():
    pytest.importorskip("mapie")
    namespace = {"X": X, "y": Y}
    exec(python_of("works_with.md", "from mapie"), namespace)
    low, high = namespace["low"], namespace["high"]
    y = namespace["y_test"]
    assert 0.84 < np.mean((low <= y) & (y <= high)) <= 1
    ours_low, ours_high = namespace["model"].predict_interval(namespace["X_test"], coverage=0.9)
    assert 0.84 < np.mean((ours_low <= y) & (y <= ours_high)) <= 1
    assert np.ptp(high - low) < 1e-9 * np.ptp(y) < np.ptp(ours_high - ours_low)


class Ranked(MLPSigmoidRegressor):
    """With the attribute that yellowbrick looks for."""

    @property
    def feature_importances_(self):
        return feature_importances(self)


def test_yellowbrick(tmp_path):
    pytest.importorskip("yellowbrick")
    import matplotlib as mpl

    mpl.use("agg")
    from yellowbrick.model_selection import FeatureImportances

    names = load_diabetes().feature_names
    model = Ranked(5, alpha=1.0, random_state=0)
    visualizer = FeatureImportances(model, labels=names, relative=False).fit(X, Y)
    visualizer.show(outpath=str(tmp_path / "importances.png"))
    assert (tmp_path / "importances.png").stat().st_size > 1000
    expected = np.sort(feature_importances(network().fit(X, Y)))
    np.testing.assert_allclose(visualizer.feature_importances_, expected)
    assert set(visualizer.features_[-2:]) == {"bmi", "s5"}


def test_shap():
    shap = pytest.importorskip("shap")
    model = network().fit(X[:, [1, 2, 8]], Y)
    rows = X[:, [1, 2, 8]]
    values = shap.Explainer(model.predict, rows[:50])(rows[:3])
    np.testing.assert_allclose(values.values.sum(1) + values.base_values, model.predict(rows[:3]))


def test_salib():
    pytest.importorskip("SALib")
    from SALib.analyze import sobol
    from SALib.sample import sobol as sample

    names = load_diabetes().feature_names
    problem = {"num_vars": 10, "names": names, "bounds": [[-0.1, 0.1]] * 10}
    indices = sobol.analyze(problem, network().fit(X, Y).predict(sample.sample(problem, 64)))
    assert {names[i] for i in np.argsort(indices["ST"])[-2:]} == {"bmi", "s5"}


def test_dalex():
    dalex = pytest.importorskip("dalex")
    model = network().fit(X, Y)
    explainer = dalex.Explainer(model, pd.DataFrame(X), Y, verbose=False)
    assert explainer.model_performance().result["r2"].iloc[0] == pytest.approx(model.score(X, Y))


def test_mlxtend():
    pytest.importorskip("mlxtend")
    from mlxtend.feature_selection import SequentialFeatureSelector

    selector = SequentialFeatureSelector(network(), k_features=2, cv=3, scoring="r2").fit(X, Y)
    assert set(selector.k_feature_idx_) == {2, 8}


def test_skforecast():
    pytest.importorskip("skforecast")
    from skforecast.recursive import ForecasterRecursive

    wave = pd.Series(np.sin(np.arange(300) / 5))
    model = network(hidden_layer_sizes=10, alpha=1e-3)
    forecaster = ForecasterRecursive(estimator=model, lags=8)
    forecaster.fit(y=wave)
    expected = np.sin(np.arange(300, 310) / 5)
    np.testing.assert_allclose(forecaster.predict(steps=10), expected, atol=0.02)


def test_m2cgen_and_its_remedy():
    m2cgen = pytest.importorskip("m2cgen")
    with pytest.raises(NotImplementedError, match="not supported"):
        m2cgen.export_to_c(network().fit(X, Y))


# ---- the flat objective --------------------------------------------------------------------


def a_fit():
    objective, theta0 = network().make_objective(X, Y)
    return objective, theta0


def test_emcee():
    emcee = pytest.importorskip("emcee")
    objective, theta0 = network(hidden_layer_sizes=1).make_objective(X[:, [2, 8]], Y)
    n = 4 * objective.n_params
    sampler = emcee.EnsembleSampler(
        n, objective.n_params, lambda theta: objective.log_posterior(theta, 0.5)[0]
    )
    start = theta0 + 0.1 * np.random.default_rng(0).normal(size=(n, objective.n_params))
    sampler.run_mcmc(start, 200)
    assert np.mean(sampler.acceptance_fraction) > 0.2
    densities = sampler.get_log_prob()
    assert densities[-50:].mean() > densities[:5].mean()


def test_iminuit():
    iminuit = pytest.importorskip("iminuit")
    objective, theta0 = a_fit()
    minuit = iminuit.Minuit(objective.value, theta0, grad=objective.gradient)
    minuit.migrad()
    assert minuit.valid
    assert minuit.fval < 0.5 * objective.loss(theta0)
    assert minuit.ngrad > 0


def test_cma():
    cma = pytest.importorskip("cma")
    objective, theta0 = a_fit()
    strategy = cma.CMAEvolutionStrategy(theta0, 0.3, {"verbose": -9, "seed": 1})
    for _ in range(60):
        population = strategy.ask()
        strategy.tell(population, objective.losses(population).tolist())
    assert strategy.result.fbest < 0.5 * objective.loss(theta0)


def test_pymoo():
    pytest.importorskip("pymoo")
    from pymoo.algorithms.soo.nonconvex.de import DE
    from pymoo.core.problem import Problem
    from pymoo.optimize import minimize

    objective, theta0 = a_fit()

    class Fit(Problem):
        def __init__(self):
            super().__init__(n_var=objective.n_params, n_obj=1, xl=-3, xu=3)

        def _evaluate(self, x, out):
            out["F"] = objective.losses(x)

    result = minimize(Fit(), DE(pop_size=40), ("n_gen", 40), seed=1)
    assert result.F[0] < 0.8 * objective.loss(theta0)


def test_nlopt():
    nlopt = pytest.importorskip("nlopt")
    objective, theta0 = a_fit()

    def value(theta, gradient):
        loss, slope = objective(theta)
        if gradient.size:
            gradient[:] = slope
        return loss

    optimiser = nlopt.opt(nlopt.LD_LBFGS, objective.n_params)
    optimiser.set_min_objective(value)
    optimiser.set_maxeval(100)
    assert objective.loss(optimiser.optimize(theta0)) < 0.5 * objective.loss(theta0)
