"""
An engine learned from forty runs
=================================

An engine deck tells the thrust and the fuel consumption of a jet engine by Mach number, altitude
and throttle. Programs that compute such numbers often compute their derivatives too. A network that
learns both needs fewer runs, and an optimiser can then work on the network.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import minimize

from skprop import MLPSigmoidRegressor

HERE = Path(__file__).parent
BLUE, ORANGE = "#1f5fa8", "#d9661f"
COLOURS = {"values alone": ORANGE, "with slopes": BLUE}
QUICK = "--quick" in sys.argv  # 4 splits instead of 8, of 40 rows alone

FEATURES, TARGETS = ["mach", "altitude_km", "throttle"], ["thrust_n", "fuel_per_s"]
deck = pd.read_csv(HERE / "data" / "engine_deck.csv.gz")
X, y = deck[FEATURES].to_numpy(), deck[TARGETS].to_numpy()
dydx = np.stack([deck[[f"{k}_by_{j}" for j in FEATURES]] for k in TARGETS], axis=1)
print(f"X {X.shape}, y {y.shape}, dydx {dydx.shape}")

# %%
# Forty runs, with and without their slopes
# -----------------------------------------
#
# Forty rows are drawn for learning; the others test. Each row has two values and six slopes, in
# units of y per unit of x, so nothing has to be scaled by hand. The fit finds from the data how
# much a slope counts relative to a value.


def error(found, true):
    """The root of the mean squared error of each column, in its standard deviations."""
    return np.sqrt(np.mean((found - true) ** 2, axis=0)) / np.std(true, axis=0)


def compared(n_rows, n_splits):
    """Of each way to learn, the networks and their errors, of values and of slopes, by split."""
    networks, errors = ({way: [] for way in COLOURS} for _ in range(2))
    for split in range(n_splits):
        train, test = np.split(np.random.default_rng(split).permutation(len(X)), [n_rows])
        for way, slopes in (("values alone", None), ("with slopes", dydx[train])):
            model = MLPSigmoidRegressor(12, alpha="evidence", random_state=split)
            model.fit(X[train], y[train], dydx=slopes)
            of_slopes = error(model.predict_gradient(X[test]), dydx[test]).mean()
            networks[way].append(model)
            errors[way].append([*error(model.predict(X[test]), y[test]), of_slopes])
    print(f"\nErrors of {n_rows} rows in standard deviations, median of {n_splits} splits")
    print("               thrust   fuel  slopes")
    for way in COLOURS:
        print("{:13}  {:6.3f} {:6.3f}  {:6.3f}".format(way, *np.median(errors[way], axis=0)))
    return networks, errors


n_splits = 4 if QUICK else 8
networks, errors = compared(40, n_splits)

# %%
# With eight times the rows the thrust gains nothing from the slopes, and the error of the fuel is a
# fifth larger. The reason may be that the slopes of this table are not exactly those of its values:
# the slopes by altitude differ from the differences between neighbouring rows.

if not QUICK:
    compared(320, n_splits)

# %%
# The cheapest cruise
# -------------------
#
# How fast should an aeroplane with two of these engines fly at 10.668 km? It needs as much thrust
# as it has drag; this drag is made up, of the size that an airliner of 235 t has. The optimiser
# chooses Mach and throttle. It gets the fuel burnt for a kilometre and the thrust left over, and
# the gradients of both from ``predict_gradient``.

ALTITUDE, KM_PER_S, GRAVITY = 10.668, 0.2965, 9.81  # km; Mach 1 there; m/s²


def drag(mach):
    """The drag for each engine in N, and its derivative."""
    return 64.3e3 * mach**2 + 17.4e3 / mach**2, 128.6e3 * mach - 34.8e3 / mach**3


def of_network(model):
    """Thrust and fuel at a Mach number and a throttle, and their derivatives by these."""

    def at(point):
        row = [[point[0], ALTITUDE, point[1]]]
        return model.predict(row)[0], model.predict_gradient(row)[0][:, [0, 2]]

    return at


def per_km(values, mach):
    """Kilograms of fuel for each engine; fuel_per_s is the weight burnt in a second, per thrust."""
    return values[0] * values[1] / (GRAVITY * KM_PER_S * mach)


def cheapest_cruise(engine, start=(0.6, 0.95)):
    path = [np.array(start)]

    def burnt(point):
        values, by = engine(point)
        found = per_km(values, point[0])
        return found, found * (by[0] / values[0] + by[1] / values[1] - [1 / point[0], 0])

    def thrust_left(point):
        return (engine(point)[0][0] - drag(point[0])[0]) / 1e4

    def thrust_left_by(point):
        return (engine(point)[1][0] - [drag(point[0])[1], 0]) / 1e4

    result = minimize(
        burnt, start, jac=True, method="SLSQP", bounds=[(0.3, 0.9), (0.05, 1)],
        constraints={"type": "ineq", "fun": thrust_left, "jac": thrust_left_by},
        callback=lambda point: path.append(point.copy()),
    )  # fmt: skip
    return result, np.array(path)


# %%
# Beside them is the deck itself: splines through its 96 rows at this altitude.

level = deck[np.isclose(deck["altitude_km"], ALTITUDE)].sort_values(["mach", "throttle"])
machs, throttles = np.unique(level["mach"]), np.unique(level["throttle"].round(2))
grid = level[TARGETS].to_numpy().reshape(len(machs), len(throttles), 2)
splines = [RectBivariateSpline(machs, throttles, grid[..., k]) for k in range(2)]


def of_deck(point):
    values = [spline.ev(*point) for spline in splines]
    return np.array(values), np.array([[s.ev(*point, 1), s.ev(*point, 0, 1)] for s in splines])


best, _ = cheapest_cruise(of_deck)
print(f"\nDeck: Mach {best.x[0]:.3f}, throttle {best.x[1]:.3f}, {best.fun:.3f} kg/km")
print("Networks of the first split; then how far off those of all splits are, in the median")
paths = {}
for way, models in networks.items():
    found = [cheapest_cruise(of_network(model)) for model in models]
    (first, paths[way]), ends = found[0], np.array([result.x for result, _ in found])
    true = np.array([of_deck(end)[0] for end in ends])
    short = np.median([abs(t[0] / drag(e[0])[0] - 1) for t, e in zip(true, ends, strict=True)])
    said = [abs(r.fun / per_km(t, r.x[0]) - 1) for (r, _), t in zip(found, true, strict=True)]
    off = np.median(abs(ends - best.x), axis=0)
    print(
        f"{way:13}: Mach {first.x[0]:.3f}, throttle {first.x[1]:.3f}, {first.fun:.3f} kg/km; "
        f"off by Mach {off[0]:.3f}, throttle {off[1]:.3f}, thrust {short:.1%}, "
        f"fuel {np.median(said):.1%}"
    )

# %%
# What the slopes are worth
# -------------------------
#
# On the left are the errors of every split: with slopes they are about half as large. On the right
# is the fuel per kilometre according to the deck; below the black line the aeroplane has less
# thrust than drag. The paths are those of the optimiser on the networks of the first split. Both
# end near the best point: for an optimum as flat as this one, forty rows without slopes are enough.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for k in range(2):
    pair = np.array([[e[k] for e in errors[way]] for way in COLOURS])
    for column, (way, colour) in enumerate(COLOURS.items()):
        label = way if k == 0 else None
        place = np.full(n_splits, 3 * k + column)
        left.plot(place, pair[column], "o", ms=7, alpha=0.6, mew=0, color=colour, label=label)
        middle = np.median(pair[column])
        left.plot([place[0] - 0.3, place[0] + 0.3], [middle, middle], color=colour, lw=3)
    left.plot([3 * k, 3 * k + 1], pair, color="0.8", lw=1, zorder=0)
ticks = [0.03, 0.05, 0.1, 0.2, 0.5]
left.set_yscale("log")
left.set_yticks(ticks, map(str, ticks))
left.minorticks_off()
left.set(xticks=[0.5, 3.5], xticklabels=["thrust", "fuel"], xlim=(-0.7, 4.7))
left.set(ylabel="error / standard deviation", title="Forty rows, lines are medians")
left.legend(frameon=False)

mach, throttle = np.meshgrid(np.linspace(0.45, 0.9, 91), np.linspace(0.35, 1, 131))
values = np.array([spline.ev(mach, throttle) for spline in splines])
shades = right.contourf(mach, throttle, per_km(values, mach), 14, cmap="Greys", alpha=0.6)
figure.colorbar(shades, ax=right, label="fuel (kg/km)")
right.contour(mach, throttle, values[0] - drag(mach)[0], [0], colors="k")
right.text(0.46, 0.86, "thrust = drag")
for way, path in paths.items():
    right.plot(*path.T, "o-", ms=4, color=COLOURS[way], label=way)
right.plot(*best.x, "k*", ms=15, label="best of the deck")
right.set(xlabel="Mach", ylabel="throttle", xlim=(0.45, 0.9), ylim=(0.35, 1))
right.set_title("The cheapest cruise at 10.7 km")
right.legend(loc="lower left", framealpha=0.9)

path = HERE / "output" / "engine_deck.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=150)
print(f"Figure: {os.path.relpath(path)}")
