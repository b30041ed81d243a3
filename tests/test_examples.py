"""The examples run, with warnings as errors, and print and draw what they promise."""

import ast
import contextlib
import functools
import io
import os
import re
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import joblib
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

mpl.use("agg")

EXAMPLES = Path(__file__).parents[1] / "examples"


def executed(path, *arguments):
    """What a script prints.

    It runs in this process, in a `__main__` of its own that has no docstring, as in the gallery.
    """
    docstring, *code = ast.parse(path.read_text(encoding="utf-8")).body
    assert isinstance(docstring, ast.Expr)
    main, printed = types.ModuleType("__main__", doc=""), io.StringIO()
    main.__file__ = str(path)
    program = compile(ast.Module(code, type_ignores=[]), path, "exec")
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        mpl.rc_context(),
    ):
        patch.chdir(path.parent)
        patch.setattr(sys, "argv", [str(path), *arguments])
        patch.setitem(sys.modules, "__main__", main)
        exec(program, vars(main))
        plt.close("all")
    return printed.getvalue()


def copied(folder):
    """A copy of the examples, as they write beside themselves."""
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("output"))
    return folder


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A function of an example's name: what a quick run printed, and where its files are."""
    folder = copied(tmp_path_factory.mktemp("copies") / "examples")

    @functools.cache
    def run(name):
        if name == "onnx_serving":
            pytest.importorskip("onnxruntime")
        return executed(folder / f"{name}.py", "--quick"), folder / "output"

    return run


def number_after(words, printed):
    """The first number that follows these words."""
    return float(re.search(rf"{re.escape(words)}\D*?(-?\d+\.?\d*(e-?\d+)?)", printed)[1])


def numbers_after(words, printed):
    """All numbers that follow these words on their line."""
    lines = re.findall(rf"^{re.escape(words)}(.+)", printed, re.MULTILINE)
    return [[float(number) for number in line.split()] for line in lines]


def picture_size(path):
    """Width and height of a PNG, which must hold more than empty axes."""
    png = path.read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png[12:16] == b"IHDR"
    assert len(png) > 12_000
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_every_example_saves_a_figure_where_it_says(quick, name):
    printed, folder = quick(name)
    assert Path(re.search(r"^Figure: (.+)$", printed, re.MULTILINE)[1]).parts == (
        "output", f"{name}.png",
    )  # fmt: skip
    width, height = picture_size(folder / f"{name}.png")
    assert width >= 700
    assert height >= 300


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


def test_the_table_of_the_power_plant_has_the_columns_and_ranges_it_is_known_for():
    table = np.genfromtxt(EXAMPLES / "data" / "power_plant.csv.gz", delimiter=",", names=True)
    assert table.shape == (9568,)
    assert (table["temperature_c"].min(), table["temperature_c"].max()) == (1.81, 37.11)
    assert (table["power_mw"].min(), table["power_mw"].max()) == (420.26, 495.76)
    assert np.corrcoef(table["temperature_c"], table["power_mw"])[0, 1] < -0.9


def test_the_slopes_of_the_engine_deck_are_those_of_its_values():
    table = np.genfromtxt(EXAMPLES / "data" / "engine_deck.csv.gz", delimiter=",", names=True)
    assert table.shape == (1056,)
    assert (table["mach"].max(), table["altitude_km"].max()) == (0.9, 13.1064)
    throttle, thrust, slope = (  # between neighbours of one Mach number and altitude
        table[name].reshape(-1, 8) for name in ("throttle", "thrust_n", "thrust_n_by_throttle")
    )
    difference = np.diff(thrust) / np.diff(throttle)
    np.testing.assert_allclose((slope[:, 1:] + slope[:, :-1]) / 2, difference, rtol=1e-2)


def test_the_curve_is_sure_where_it_was_measured_and_unsure_in_the_gap(quick):
    printed, _ = quick("curve_with_gap")
    assert 0.08 < number_after("Noise found:", printed) < 0.12
    assert number_after("in the gap, at x = 0:", printed) > 3 * number_after(
        "deviation at x = 2:", printed
    )
    assert number_after("within the band at", printed) > 85
    assert number_after("Slope at x = 2:", printed) == pytest.approx(2 * np.cos(4), abs=0.3)


def test_the_network_predicts_strength_far_better_than_ridge(quick):
    printed, _ = quick("concrete_strength")
    rmse = {
        name: number_after(f"\n{name}", printed)
        for name in (
            "MLPSigmoidRegressor", "Ridge", "HistGradientBoostingRegressor", "MLPRegressor"
        )
    }  # fmt: skip
    assert rmse["MLPSigmoidRegressor"] < 0.7 * rmse["Ridge"]
    assert max(rmse.values()) == rmse["Ridge"]
    assert min(rmse.values()) > 3  # MPa: nobody predicts concrete better than that
    assert 90 < number_after("95 % intervals:", printed) <= 99


def test_the_network_learns_the_heating_loads_better_than_the_others(quick):
    printed, _ = quick("heating")
    ours, *others = (
        number_after(f"\n{name}", printed)
        for name in (
            "MLPSigmoidRegressor", "HistGradientBoostingRegressor", "MLPRegressor", "Ridge"
        )
    )  # fmt: skip
    assert ours < min(others)
    assert 0.2 < ours < 1  # kWh/m²
    assert 88 < number_after("95 % intervals:", printed) <= 100


def test_the_evidence_chooses_as_well_as_a_grid_search(quick):
    printed, _ = quick("choose_by_evidence")
    for _, table in re.findall(r"(concrete|energy):  (.+?)(?=energy:  |\Z)", printed, re.DOTALL):
        grid, _, committee = re.findall(r"^(?:grid|evidence).+?  +(\d\.\d\d) ", table, re.MULTILINE)
        assert float(committee) < 1.25 * float(grid)  # on concrete a single row decides
    assert "height_m +" in printed


def test_the_committee_reads_the_fat_off_the_spectrum(quick):
    printed, _ = quick("fat_in_meat")
    linear, chosen = number_after("10 components", printed), number_after("units; RMSE", printed)
    assert chosen < 0.65 < linear  # 0.65 is the network of 1992
    clean = printed.replace("%", "")
    (test,), (beyond,) = numbers_after("T ", clean), numbers_after("E1 ", clean)
    assert beyond[2] > 1.5 * test[2]  # the error bars open


def test_the_program_in_c_says_what_predict_says(quick):
    printed, folder = quick("microcontroller")
    sizes = re.findall(r"^ +(\d+) +\d+ +(\d+)  (\d\.\d\d)$", printed, re.MULTILINE)
    assert [units for units, *_ in sizes] == ["2", "10"]
    assert all(3.5 < float(rmse) < 5 for *_, rmse in sizes)
    assert "plant_predict" in (folder / "plant.c").read_text(encoding="utf-8")
    if shutil.which("cc"):
        assert number_after("at most", printed) < 1e-2


def test_rows_are_learned_from_a_file_and_more_of_them_help(quick):
    printed, _ = quick("two_million_rows")
    table = numbers_after("", re.sub(r"(?m)^(?! +[\d,]+  ).*\n?", "", printed.replace(",", "")))
    assert [row[0] for row in table] == [20, 200, 2000, 20_000]
    assert table[-1][3] < 0.8 * table[0][3]


def test_more_specimens_and_more_units_help_and_a_heavy_penalty_does_not(quick):
    printed, _ = quick("learning_curves")
    by_size, by_alpha, by_width = numbers_after("RMSE held out:", printed)
    assert by_size[0] > by_size[1] > by_size[2]
    assert by_alpha[2] > 2 * by_alpha[0]
    assert by_width[0] > by_width[2]


def test_on_noisy_rows_it_pays_to_stop(quick):
    printed, _ = quick("early_stopping")
    rmse = dict(re.findall(r"diabetes, ([a-z ]+?) *: .* test RMSE (\S+)", printed))
    assert float(rmse["to the end"]) > 1.05 * float(rmse["by progress"])
    assert float(rmse["to the end"]) > 1.05 * float(rmse["early stopping"])


@pytest.mark.parametrize(
    "method", ["L-BFGS-B", "trust-krylov", "trust-exact", "least_squares", "lm"]
)
def test_every_method_gets_close_to_a_minimum(quick, method):
    printed, _ = quick("second_order")
    loss, gradient = re.search(rf"\n{method} +(\S+) +(\S+)", printed).groups()
    assert float(loss) < 0.1 * number_after("parameters, loss", printed)
    assert float(gradient) < 2e-3


def test_the_grid_search_finds_a_network_that_holds_on_unseen_rows(quick):
    printed, _ = quick("grid_search")
    parameters, cross_validated, held_out = re.search(
        r"Best parameters: (.+)\nCross-validated RMSE (\S+) MPa, .* held out (\S+) MPa", printed
    ).groups()
    assert "'alpha': 0.01" in parameters  # not the heavy penalty beside it
    assert float(cross_validated) < 8
    assert float(held_out) < 8


def test_every_solver_learns_the_power_plant(quick):
    printed, _ = quick("compare_solvers")
    rows = re.findall(r"^(\S.*?)  +(\d+)  (0\.\d+) +(\S+)$", printed, re.MULTILINE)
    assert len(rows) == 5
    for _, passes, loss, rmse in rows:
        assert int(passes) <= 11
        assert float(loss) < 0.1  # 0.5 is the loss of the mean
        assert 3.5 < float(rmse) < 7  # MW, of 17 for the mean


def test_sensitivities_are_the_slopes_of_the_predictions(quick):
    printed, _ = quick("partial_dependence")
    assert "Derivatives of shape (258, 8)" in printed
    assert number_after("at most", printed) < 1e-6
    values = re.findall(
        r"^(\S.*?) +(\d\.\d\d)$", printed.partition("standardised:")[2], re.MULTILINE
    )
    assert [name for name, _ in values[:2]] == ["age days", "cement"]


def test_slopes_make_up_for_runs_and_the_optimiser_finds_the_cruise(quick):
    printed, _ = quick("engine_deck")
    table, _, cruise = printed.partition("Deck:")
    (without,), (learnt,) = (numbers_after(w, table) for w in ("values alone", "with slopes"))
    assert learnt[0] < 0.8 * without[0]  # thrust, fuel, slopes; in standard deviations
    assert learnt[1] < 0.9 * without[1]
    assert learnt[2] < 0.7 * without[2]
    best, *found = map(float, re.findall(r"(\d\.\d+) kg/km", cruise))
    assert found == pytest.approx([best] * 2, rel=0.05)


def test_expected_improvement_comes_closer_to_the_minimum_than_chance(quick):
    printed, _ = quick("bayesian_optimisation")
    ends = {
        name: numbers_after(f"{name}:", printed)[-1]
        for name in ("expected improvement", "at random")
    }
    assert ends["expected improvement"][0] == ends["at random"][0] == 24  # evaluations
    low, median, high = ends["expected improvement"][1:]
    assert 0 <= low <= median <= high
    assert median < 0.5 * ends["at random"][2]


def test_one_network_of_many_outputs_completes_digits_better_than_ridge(quick):
    printed, _ = quick("several_outputs")
    errors = {name: number_after("RMSE", printed.split(name)[1]) for name in ("skprop", "ridge")}
    assert 1 < errors["skprop"] < errors["ridge"] < 4


def test_rows_that_arrive_over_time_are_learned(quick):
    printed, _ = quick("streaming")
    assert "to the last bit: True" in printed
    streamed = number_after("last ten chunks", printed)
    assert 3.5 < number_after("All at once: RMSE", printed) < streamed < 8  # MW, of 17 at first


def test_the_gradient_given_to_scipy_is_the_slope_of_the_loss(quick):
    printed, _ = quick("scipy_optimize")
    slopes = re.search(r"(\S+) by backpropagation, (\S+) by differences", printed)
    by_hand, by_differences = map(float, slopes.groups())
    assert by_hand != 0
    assert by_hand == pytest.approx(by_differences, rel=1e-6)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "TNC", "trust-constr", "Newton-CG"])
def test_every_minimiser_of_scipy_lowers_the_loss(quick, method):
    printed, _ = quick("scipy_optimize")
    assert number_after(f"\n{method}", printed) < 0.5 * number_after("parameters, loss", printed)


def test_what_scipy_found_predicts_in_mpa(quick):
    printed, _ = quick("scipy_optimize")
    assert 3 < number_after("held out, RMSE", printed) < 10
    assert number_after("R²", printed) > 0.6


def test_the_served_network_is_the_fitted_one(quick):
    printed, _ = quick("onnx_serving")
    largest = {
        dtype: float(re.search(rf"concrete_{dtype}.onnx: .* at most (\S+) MPa", printed)[1])
        for dtype in ("float32", "float64")
    }
    assert largest["float64"] < 1e-12
    assert 1e-12 < largest["float32"] < 1e-4
    assert number_after("specimens held out:", printed) > 0.8


def test_the_band_opens_in_the_gap_and_covers(quick):
    printed, _ = quick("uncertainty")
    assert 0.08 < number_after("noise found (0.1 is true)", printed) < 0.12
    assert number_after("in the gap", printed) > 3 * number_after("at the data", printed)
    for nominal, low, high in ((50, 45, 70), (80, 75, 92), (95, 90, 99)):
        assert low < number_after(f"{nominal}% interval covers", printed) < high
    chosen, drawn, at_random = (
        numbers_after(f"RMSE after 4 experiments {how}:", printed)[0][1]  # the median; 0.7 at first
        for how in ("where least sure", "drawn by variance", "at random")
    )
    assert chosen <= at_random < 0.6
    assert drawn < 0.6


def test_a_run_that_is_killed_twice_ends_with_the_theta_of_an_undisturbed_one(tmp_path):
    script = copied(tmp_path / "examples") / "checkpoint.py"
    path, reached = script.parent / "output" / "checkpoint.joblib", 0
    command = [sys.executable, "-X", "utf8", "-W", "error", script, "--quick"]
    rng, environment = np.random.default_rng(0), os.environ | {"MPLBACKEND": "agg"}
    for _ in range(2):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
        ) as process:
            next(line for line in process.stdout if line.startswith("Epoch"))
            time.sleep(rng.uniform(0, 0.05))  # what is killed is a run at work, at a random moment
            process.kill()  # SIGKILL
        assert process.returncode != 0
        model = joblib.load(path)  # whole, whenever it was killed
        assert model.n_iter_ % 2 == 0
        assert reached < model.n_iter_ <= 60
        reached = model.n_iter_
    ends = [executed(script, "--quick") for _ in range(2)]
    assert f"Going on after epoch {reached}" in ends[0]
    assert "Going on" not in ends[1]  # the checkpoint of a finished run is gone
    killed, undisturbed = (re.search(r"SHA-256 of theta_: (\w+)", printed)[1] for printed in ends)
    assert killed == undisturbed
