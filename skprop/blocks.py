"""Blocks of rows, which fit the cache, and parts, the units of parallel work.

A network is evaluated on a block of rows at a time, so memory is O(P + block) whatever the
number of rows, and a block's buffers stay in the cache between one layer and the next.
Neighbouring blocks are grouped into parts. How many there are depends on the rows alone; each is
summed by itself and the sums are added in order: the result is the same to the last bit on any
number of threads.
"""

import itertools
from collections.abc import Callable
from operator import iadd
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .threads import MAX_THREADS, run

__all__ = [
    "CACHE_BYTES", "LEAST_ROWS", "MAX_PARTS", "MAX_ROWS", "MIN_ROWS", "PART_WORK", "Block",
    "RowBlocks", "RowIndex", "block_rows", "split",
]  # fmt: skip

# Of the widest buffer of a block, which is to stay in the (per core) cache.
CACHE_BYTES = 1024 * 1024
MIN_ROWS, MAX_ROWS = 256, 8192
MAX_PARTS = MAX_THREADS  # each needs a gradient of its own
# In multiplications of float64: two parts of 0.15 ms are the least that gains from two threads.
PART_WORK = 1_000_000
# Of a part with a gradient of its own, which costs P numbers to clear and to add.
LEAST_ROWS = 256

RowIndex = slice | NDArray[np.intp]


class Block(NamedTuple):
    """Some rows that are computed together."""

    rows: RowIndex  # their numbers
    at: slice  # their places in an array that holds the rows of all blocks
    n: int  # how many they are


def block_rows(sizes: tuple[int, ...], dtype: DTypeLike) -> int:
    """The number of rows of a block whose widest buffer takes about a mebibyte."""
    rows = CACHE_BYTES // (max(sizes) * np.dtype(dtype).itemsize)
    return min(max(rows, MIN_ROWS), MAX_ROWS)


def split(rows: RowIndex, size: int) -> list[Block]:
    """Cut a slice of step 1, or an array of row numbers, into blocks of at most ``size`` rows."""
    is_slice = isinstance(rows, slice)
    first, n_rows = (rows.start, rows.stop - rows.start) if is_slice else (0, len(rows))
    blocks = []
    for a in range(0, n_rows, size):
        b = min(a + size, n_rows)
        block_rows = slice(first + a, first + b) if is_slice else rows[a:b]
        blocks.append(Block(block_rows, slice(a, b), b - a))
    return blocks


class RowBlocks:
    """``n_rows`` rows, cut into blocks of at most ``size`` rows.

    Neighbouring blocks are grouped into ``parts``, at most MAX_PARTS lists of blocks, whatever the
    number of threads; ``work``, the number of multiplications that all rows take together, decides
    whether more than one part pays. Each has ``least`` rows or more.
    """

    def __init__(self, rows: RowIndex, n_rows: int, size: int, work: int, least: int = 1):
        paying = min(work // PART_WORK, n_rows // least) | 1
        n_parts = min(1 << paying.bit_length() - 1, MAX_PARTS)  # a power of 2: fair to 2 threads
        if n_parts == 1 and n_rows <= size:
            self.parts = [[Block(rows, slice(0, n_rows), n_rows)]]
            return
        n_blocks = max(-(-n_rows // size), n_parts)
        blocks = split(rows, -(-n_rows // n_blocks))
        cuts = [len(blocks) * k // n_parts for k in range(n_parts + 1)]
        self.parts = [blocks[a:b] for a, b in itertools.pairwise(cuts) if a < b]

    def sum(self, part_sums: Callable[[list[Block]], tuple]) -> list:
        """The sums over the parts of the numbers or arrays that ``part_sums`` returns."""
        if len(self.parts) == 1:
            return [*part_sums(self.parts[0])]
        sums: list = [()] * len(self.parts)

        def sum_part(k: int) -> None:
            sums[k] = part_sums(self.parts[k])

        run(sum_part, len(self.parts))
        total, *others = sums
        for more in others:
            total = [*map(iadd, total, more)]
        return total

    def fill(self, fill_part: Callable[[list[Block]], None]) -> None:
        """Call ``fill_part`` with every part, side by side; each call writes its own rows."""
        if len(self.parts) == 1:
            fill_part(self.parts[0])
        else:
            run(lambda k: fill_part(self.parts[k]), len(self.parts))
