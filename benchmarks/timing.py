"""Best of many, interleaved: every contender meets the same weather."""

import random
import time
from collections.abc import Callable

TURN = 0.05  # seconds


def best_of(
    functions: dict, seconds: float, least: int = 3, clock: Callable = time.perf_counter
) -> dict:
    """The least time of one call of each function, in seconds of the clock.

    The functions take turns, in a new order every time, for ``seconds`` altogether and at least
    ``least`` times each. A turn is as many calls as fit in 0.05 s, as a fit makes one evaluation
    after the other, and 30 ms is how long the idle threads of the one before may go on spinning.
    """
    order, rng = list(functions), random.Random(0)
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()  # compile, allocate, warm the caches
    end, n = time.perf_counter() + seconds, 0
    while n < least or time.perf_counter() < end:
        rng.shuffle(order)
        for name in order:
            function, turn_ends = functions[name], time.perf_counter() + TURN
            while True:
                start = clock()
                function()
                best[name] = min(best[name], clock() - start)
                if time.perf_counter() > turn_ends:
                    break
        n += 1
    return best
