"""The examples run as shipped, with warnings as errors, and print what they promise."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *arguments, cwd):
    """What a quick run of an example prints."""
    command = [sys.executable, "-X", "utf8", "-W", "error", EXAMPLES / script, "--quick"]
    done = subprocess.run(
        [*command, *arguments], cwd=cwd, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def number_after(words, printed):
    """The first number that follows these words."""
    return float(re.search(rf"{re.escape(words)}\D*?(-?\d+\.?\d*(e-?\d+)?)", printed)[1])


@pytest.fixture(scope="module")
def concrete_strength(tmp_path_factory):
    """What concrete_strength.py prints, and where it ran."""
    directory = tmp_path_factory.mktemp("concrete_strength")
    return run("concrete_strength.py", "--output", "figures", cwd=directory), directory


def test_the_table_of_concrete_has_the_columns_and_ranges_it_is_known_for():
    table = np.genfromtxt(EXAMPLES / "data" / "concrete.csv", delimiter=",", names=True)
    assert table.shape == (1030,)
    assert table.dtype.names[-1] == "strength_mpa"
    assert (table["age_days"].min(), table["age_days"].max()) == (1, 365)
    assert (table["water_kg_m3"].min(), table["water_kg_m3"].max()) == (121.8, 247)
    assert (table["strength_mpa"].min(), table["strength_mpa"].max()) == (2.33, 82.6)
    mass = sum(table[name] for name in table.dtype.names if name.endswith("_kg_m3"))
    assert mass.min() > 2100  # what a cubic metre of concrete weighs
    assert mass.max() < 2600


def test_the_network_predicts_strength_far_better_than_ridge(concrete_strength):
    printed, _ = concrete_strength
    rmse = {
        name: number_after(f"\n{name}", printed)
        for name in (
            "MLPSigmoidRegressor", "Ridge", "HistGradientBoostingRegressor", "MLPRegressor"
        )
    }  # fmt: skip
    assert rmse["MLPSigmoidRegressor"] < 0.7 * rmse["Ridge"]
    assert max(rmse.values()) == rmse["Ridge"]
    assert min(rmse.values()) > 3  # MPa: nobody predicts concrete better than that


def assert_figure_is_where_it_says(printed, directory, name):
    path = directory / re.search(r"Figure: (.+)", printed)[1]
    assert path == directory / "figures" / name
    png = path.read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png[12:16] == b"IHDR"
    width, height = int.from_bytes(png[16:20]), int.from_bytes(png[20:24])
    assert width == 1500
    assert height > 600
    assert len(png) > 30_000  # more than empty axes


def test_the_figure_of_concrete_strength_is_where_it_says(concrete_strength):
    assert_figure_is_where_it_says(*concrete_strength, "concrete_strength.png")


@pytest.fixture(scope="module")
def scipy_optimize(tmp_path_factory):
    return run("scipy_optimize.py", cwd=tmp_path_factory.mktemp("scipy_optimize"))


def test_the_gradient_given_to_scipy_is_the_slope_of_the_loss(scipy_optimize):
    slopes = re.search(r"(\S+) by backpropagation, (\S+) by differences", scipy_optimize)
    by_hand, by_differences = map(float, slopes.groups())
    assert by_hand != 0
    assert by_hand == pytest.approx(by_differences, rel=1e-6)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "TNC", "trust-constr"])
def test_every_minimiser_of_scipy_lowers_the_loss(scipy_optimize, method):
    loss = number_after(f"\n{method}", scipy_optimize)
    assert loss < 0.5 * number_after("parameters, loss", scipy_optimize)


def test_what_scipy_found_predicts_in_mpa(scipy_optimize):
    assert 3 < number_after("held out, RMSE", scipy_optimize) < 10
    assert number_after("R²", scipy_optimize) > 0.6


@pytest.fixture(scope="module")
def second_order(tmp_path_factory):
    directory = tmp_path_factory.mktemp("second_order")
    return run("second_order.py", "--output", "figures", cwd=directory), directory


@pytest.mark.parametrize(
    "method", ["L-BFGS-B", "trust-krylov", "trust-exact", "least_squares", "lm"]
)
def test_every_method_gets_close_to_a_minimum(second_order, method):
    printed, _ = second_order
    loss, gradient = re.search(rf"\n{method} +(\S+) +(\S+)", printed).groups()
    assert float(loss) < 0.1 * number_after("parameters, loss", printed)
    assert float(gradient) < 2e-3


def test_the_figure_of_second_order_is_there(second_order):
    printed, directory = second_order
    path = directory / re.search(r"Figure: (.+)", printed)[1]
    png = path.read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(png[16:20]) == 1500
    assert len(png) > 30_000


def test_the_grid_search_finds_a_network_that_holds_on_unseen_rows(tmp_path):
    printed = run("grid_search.py", cwd=tmp_path)
    parameters, cross_validated, held_out = re.search(
        r"Best parameters: (.+)\nCross-validated RMSE (\S+) MPa, .* held out (\S+) MPa", printed
    ).groups()
    assert "'alpha': 0.01" in parameters  # not the heavy penalty beside it
    assert float(cross_validated) < 8
    assert float(held_out) < 8


def test_the_served_network_is_the_fitted_one(tmp_path):
    pytest.importorskip("onnxruntime")
    printed = run("onnx_serving.py", "--output", "figures", cwd=tmp_path)
    largest = {
        dtype: float(re.search(rf"concrete_{dtype}.onnx: .* at most (\S+) MPa", printed)[1])
        for dtype in ("float32", "float64")
    }
    assert largest["float64"] < 1e-12
    assert 1e-12 < largest["float32"] < 1e-4
    assert number_after("specimens held out:", printed) > 0.8
    assert_figure_is_where_it_says(printed, tmp_path, "onnx_serving.png")
