"""What the members of a committee found, as the attributes of one fitted estimator."""

from itertools import zip_longest

import numpy as np

STACKED = ("theta_", "alpha_", "effective_n_parameters_", "log_evidence_", "_factor", "_noise")
AVERAGED = ("loss_", "best_loss_", "best_validation_score_", "noise_variance_")
CURVES = ("loss_curve_", "validation_loss_curve_", "validation_scores_")


def gathered(members: list[dict]) -> dict:
    """One value of each fitted attribute for those of the members.

    What describes a network gets the members as its first axis; losses are averaged, a curve with
    the last value of the members that have ended; ``n_iter_`` is the greatest, evaluations and
    rows are summed.
    """
    first, found = members[0], {}
    for name in set.intersection(*(set(member) for member in members)):
        values = [member[name] for member in members]
        if name in STACKED:
            found[name] = np.array(values)
        elif any(value is None for value in values):
            if name in (*AVERAGED, *CURVES, "n_iter_", "n_fev_", "_solver_state"):
                found[name] = None
        elif name in AVERAGED:
            mean = np.mean(values, axis=0)
            found[name] = mean if np.ndim(mean) else float(mean)
        elif name in CURVES:
            found[name] = mean_curve(values)
        elif name == "n_iter_":
            found[name] = max(values)
        elif name in ("n_fev_", "t_"):
            found[name] = sum(values)
        elif name == "message_":
            found[name] = " ".join(sorted(set(values)))
    if "_solver_state" in first:
        found["_solver_state"] = None
    return found


def mean_curve(curves: list[list[float]]) -> list[float]:
    """The mean of several curves; one that has ended counts with its last value."""
    latest, means = [np.nan] * len(curves), []
    for values in zip_longest(*curves):
        latest = [old if new is None else new for old, new in zip(latest, values, strict=True)]
        means.append(float(np.mean(latest)))
    return means
