"""The two pictures that docs/performance.md links, from a stored run.

python -m benchmarks --save run.json
python -m benchmarks.plots run.json docs/images
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLOURS = {"skprop": "C0", "on 1 thread": "C0", "sklearn": "C1", "torch": "C3", "jax": "C2"}


def time_against_rows(rows, path):
    rows = [r for r in rows if r["table"] == "growth"]
    n = [int(r["label"].split()[0]) for r in rows]
    fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for name, colour in COLOURS.items():
        if all(name in r["seconds"] for r in rows):
            milliseconds = [1e3 * r["seconds"][name] for r in rows]
            label = f"skprop {name}" if name.startswith("on") else name
            style = "--" if name.startswith("on") else "-"
            ax.loglog(n, milliseconds, style, marker="o", ms=4, color=colour, label=label)
    ax.set(xlabel="rows", ylabel="ms for one loss and its gradient")
    ax.set_title("10 features, 50 hidden units, float64")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    fig.savefig(path, dpi=110)


def ratio_to_peers(rows, path):
    fig, axes = plt.subplots(
        1, 2, figsize=(9.6, 4.6), sharey=True, sharex=True, layout="constrained"
    )
    for ax, precision in zip(axes, ("float64", "float32"), strict=True):
        chosen = [r for r in rows if r["table"] == "evaluation" and r["label"].endswith(precision)]
        labels = [r["label"].rsplit(" ", 2)[0] for r in chosen]
        for name, marker in (("sklearn", "o"), ("torch", "s"), ("jax", "^"), ("floor", "|")):
            if all(name in r["seconds"] for r in chosen):
                ratios = [r["seconds"][name] / r["seconds"]["skprop"] for r in chosen]
                colour = COLOURS.get(name, "0.4")
                ax.plot(
                    ratios, labels, marker, color=colour, ms=9 if name == "floor" else 6, label=name
                )
        ax.axvline(1, color="0.3", lw=1)
        ax.set(xscale="log", xlabel="time as a multiple of skprop's", title=precision)
        ax.set_xticks([0.1, 0.2, 0.5, 1, 2, 5], ["0.1", "0.2", "0.5", "1", "2", "5"])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    axes[0].invert_yaxis()
    axes[0].legend(frameon=False, loc="lower left")
    fig.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser("python -m benchmarks.plots")
    parser.add_argument("run", type=Path, help="what python -m benchmarks --save wrote")
    parser.add_argument("folder", type=Path, help="where the two PNG files go")
    options = parser.parse_args()
    rows = json.loads(options.run.read_text())["rows"]
    time_against_rows(rows, options.folder / "time_against_rows.png")
    ratio_to_peers(rows, options.folder / "ratio_to_peers.png")


if __name__ == "__main__":
    main()
