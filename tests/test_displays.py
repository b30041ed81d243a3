"""LossCurveDisplay: what is drawn, where, and that several fits share one axes."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import NotFittedError
from sklearn.metrics import PredictionErrorDisplay
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprop import LossCurveDisplay, MLPSigmoidRegressor

mpl.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def stopped(diabetes):
    """A fit with early stopping that ends after its best iteration."""
    model = MLPSigmoidRegressor(early_stopping=True, random_state=0, alpha=1e-4).fit(*diabetes)
    assert np.argmin(model.validation_loss_curve_) < model.n_iter_ - 1
    return model


def drawn(line):
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def marked(line):
    """Where the markers of a line are: [(x, y)]."""
    (x, y), at = drawn(line), line.get_markevery()
    return [(x[i], y[i]) for i in at] if line.get_marker() == "o" else []


def test_both_curves_are_drawn_on_a_log_scale_with_the_best_iteration_marked(stopped):
    display = LossCurveDisplay.from_estimator(stopped)
    training, validation = display.lines_
    iterations = list(range(1, stopped.n_iter_ + 1))
    assert drawn(training) == (iterations, stopped.loss_curve_)
    assert drawn(validation) == (iterations, stopped.validation_loss_curve_)
    best = int(np.argmin(stopped.validation_loss_curve_))
    assert display.best_iteration == best + 1
    assert marked(validation) == [(best + 1, stopped.validation_loss_curve_[best])]
    assert marked(training) == []
    assert display.ax_.get_yscale() == "log"
    assert display.ax_.get_xscale() == "linear"
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("Iteration", "Loss")
    assert display.figure_ is display.ax_.figure
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [
        "MLPSigmoidRegressor, training",
        f"MLPSigmoidRegressor, validation (best: {best + 1})",
    ]


def test_without_early_stopping_the_least_training_loss_is_marked(diabetes):
    model = MLPSigmoidRegressor(5, random_state=0, alpha=1e-4).fit(*diabetes)
    display = LossCurveDisplay.from_estimator(model, name="one")
    (line,) = display.lines_
    assert marked(line) == [(model.n_iter_, model.best_loss_)]
    assert line.get_label() == f"one, training (best: {model.n_iter_})"


def test_several_fits_share_one_axes_in_different_colours(diabetes, stopped):
    adam = MLPSigmoidRegressor(solver="adam", early_stopping=True, random_state=0).fit(*diabetes)
    first = LossCurveDisplay.from_estimator(stopped, name="L-BFGS")
    second = LossCurveDisplay.from_estimator(adam, name="Adam", ax=first.ax_)
    assert second.ax_ is first.ax_
    assert len(first.ax_.lines) == 4
    assert len(first.ax_.get_legend().get_texts()) == 4
    colours = [[line.get_color() for line in d.lines_] for d in (first, second)]
    assert all(training == validation for training, validation in colours)
    assert colours[0] != colours[1]


def test_a_validation_curve_that_began_later_ends_with_the_training_curve():
    display = LossCurveDisplay(loss_curve=[5, 4, 3, 2, 1], validation_loss_curve=[3, 2, 4])
    _, validation = display.plot().lines_
    assert drawn(validation) == ([3, 4, 5], [3, 2, 4])
    assert display.best_iteration == 4
    assert marked(validation) == [(4, 2)]
    assert validation.get_label() == "validation (best: 4)"


def test_early_stopping_in_a_warm_start_only(diabetes):
    model = MLPSigmoidRegressor(
        5, solver="adam", max_iter=8, warm_start=True, random_state=0, n_iter_no_change=3, tol=1e-2
    )
    with pytest.warns(match="max_iter"):
        model.fit(*diabetes)
    with pytest.warns(match="max_iter"):
        model.set_params(early_stopping=True, n_iter_no_change=50).fit(*diabetes)
    training, validation = LossCurveDisplay.from_estimator(model).lines_
    assert drawn(training)[0] == list(range(1, 17))
    assert drawn(validation)[0] == list(range(9, 17))


def test_a_pipeline_a_search_and_mlp_regressor_are_drawn_too(diabetes):
    X, y = diabetes
    pipeline = make_pipeline(StandardScaler(), MLPSigmoidRegressor(5, random_state=0, alpha=1e-4))
    grid = {"mlpsigmoidregressor__alpha": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    curve = search.best_estimator_[-1].loss_curve_
    for estimator in (search, search.best_estimator_):
        display = LossCurveDisplay.from_estimator(estimator)
        assert display.loss_curve == curve
        assert display.name == "MLPSigmoidRegressor"
    peer = MLPRegressor(tol=1e6, n_iter_no_change=1, random_state=0).fit(X, y)
    (line,) = LossCurveDisplay.from_estimator(peer, ax=display.ax_).lines_
    assert drawn(line)[1] == peer.loss_curve_


def test_keywords_reach_the_lines(stopped):
    display = LossCurveDisplay.from_estimator(stopped, line_kw={"color": "red", "linewidth": 3})
    assert {line.get_color() for line in display.lines_} == {"red"}
    assert {line.get_linewidth() for line in display.lines_} == {3}
    again = display.plot(name="again")
    assert again is display
    assert display.lines_[0].get_label() == "again, training"


def test_losses_of_zero_are_drawn_without_a_warning():
    display = LossCurveDisplay(loss_curve=[0.0, 0.0]).plot()
    display.figure_.canvas.draw()
    mixed = LossCurveDisplay(loss_curve=[1.0, 0.1, 0.0]).plot()
    mixed.figure_.canvas.draw()
    assert mixed.ax_.get_yscale() == "log"


def test_what_has_no_curve_says_so(diabetes):
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(MLPSigmoidRegressor(alpha=1e-4))
    model = MLPSigmoidRegressor(5, random_state=0, alpha=1e-4).fit(*diabetes)
    with pytest.raises(ValueError, match="has kept no loss curve"):
        LossCurveDisplay.from_estimator(model.set_theta(model.theta_))

    def solver(objective, theta0):
        return minimize(objective, theta0, jac=True, tol=0.1)

    with pytest.raises(ValueError, match="has kept no loss curve"):
        LossCurveDisplay.from_estimator(MLPSigmoidRegressor(solver=solver).fit(*diabetes))


def test_matplotlib_is_asked_for_only_where_something_is_drawn():
    code = """
import sys
sys.modules["matplotlib"] = None  # as if it were not installed
from skprop import LossCurveDisplay
display = LossCurveDisplay(loss_curve=[2.0, 1.0])
assert display.best_iteration == 2
try:
    display.plot()
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "skprop[plot]"' in done.stdout


def test_predicted_against_actual_is_a_display_of_scikit_learn(diabetes):
    X, y = diabetes
    model = MLPSigmoidRegressor(5, random_state=0, alpha=1e-4).fit(X, y)
    display = PredictionErrorDisplay.from_estimator(model, X, y, kind="actual_vs_predicted")
    np.testing.assert_array_equal(display.y_pred, model.predict(X))


def test_the_members_of_a_committee_are_thin_lines_in_the_colour_of_their_mean(diabetes):
    model = MLPSigmoidRegressor(3, solver="lm", n_members=3, random_state=0).fit(*diabetes)
    display = LossCurveDisplay.from_estimator(model)
    assert len(display.member_lines_) == 3
    for line, curve in zip(display.member_lines_, model.member_loss_curves_, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve)
        assert line.get_color() == display.lines_[0].get_color()
        assert line.get_linewidth() < display.lines_[0].get_linewidth()
    assert len(display.ax_.get_legend().get_texts()) == 1
    n_longest = max(map(len, model.member_loss_curves_))
    last = [curve[-1] for curve in model.member_loss_curves_]
    assert len(model.loss_curve_) == n_longest
    assert model.loss_curve_[-1] == pytest.approx(np.mean(last))
