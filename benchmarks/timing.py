"""Best of many, interleaved: every contender meets the same weather."""

import random
import time


def best_of(functions: dict, seconds: float, least: int = 3) -> dict:
    """The least time of one call of each function, in seconds.

    The functions take turns for ``seconds`` altogether, and at least ``least`` times each, in a
    new order every time: what one leaves behind (threads that still spin, cold caches) meets
    each of the others.
    """
    order, rng = list(functions), random.Random(0)
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()  # compile, allocate, warm the caches
    end, n = time.perf_counter() + seconds, 0
    while n < least or time.perf_counter() < end:
        rng.shuffle(order)
        for name in order:
            function = functions[name]
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
        n += 1
    return best
