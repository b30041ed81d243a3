"""What a fit prints as it goes on."""

import time

import numpy as np
from scipy.optimize import OptimizeResult

__all__ = ["Printer"]


class Printer:
    """Prints lines on the iterations of a run, each with the time since the run began.

    With ``verbose=1`` the lines thin out: iterations 1, 2, …, 9, then 10, 20, …, 90, then 100, 200,
    and so on; a larger number prints all.
    """

    def __init__(self, label: str, verbose: int):
        self._label, self._all = label, verbose > 1
        self._start = time.perf_counter()

    def __call__(self, iteration: OptimizeResult) -> None:
        """Print the line of an iteration, unless it is one of those left out."""
        nit = iteration.nit
        if not self._all and nit % 10 ** (len(str(nit)) - 1):
            return
        line = f"{self._label}Iteration {nit}, loss = {iteration.fun:.8g}"
        if "log_evidence" in iteration:
            noises = np.sqrt(np.atleast_1d(iteration.noise_variance))
            line += f", noise = {' '.join(f'{noise:.4g}' for noise in noises)}"
            line += f", gamma = {iteration.n_effective:.1f}"
            line += f", log evidence = {iteration.log_evidence:.2f}"
        if "validation_loss" in iteration:
            line += f", validation loss = {iteration.validation_loss:.8g}"
        print(f"{line}, {time.perf_counter() - self._start:.1f} s")
