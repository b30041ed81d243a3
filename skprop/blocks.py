"""Blocks of rows: how rows are cut and shared out, and sums over them.

A network is evaluated on a block of rows at a time, so memory is O(P + block) whatever the
number of rows, and a block's buffers stay in the cache between one layer and the next.
Neighbouring blocks are grouped into parts, the units of parallel work. How many there are depends
on the rows alone; each is summed by itself and the sums are added in order: the result is the same
to the last bit on any number of threads.
"""

import itertools
from collections.abc import Callable
from operator import iadd
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .threads import MAX_THREADS, run

__all__ = ["MAX_PARTS", "Block", "RowBlocks", "RowIndex", "block_rows", "split"]

# What should stay in the (per core) cache is the widest buffer of a block.
CACHE_BYTES = 1024 * 1024
MIN_ROWS, MAX_ROWS = 256, 8192
MAX_PARTS = MAX_THREADS  # each needs a gradient of its own
# In multiplications of float64: two parts of 0.15 ms are the least that gains from two threads.
PART_WORK = 1_000_000

RowIndex = slice | NDArray[np.intp]


class Block(NamedTuple):
    """Some rows that are computed together.

    Attributes
    ----------
    rows : slice of step 1 or array of int
        Their numbers.
    at : slice
        Where they stand among all rows of the blocks.
    n : int
        How many they are.
    """

    rows: RowIndex
    at: slice
    n: int


def block_rows(sizes: tuple[int, ...], dtype: DTypeLike) -> int:
    """Number of rows of a block: its widest buffer takes about CACHE_BYTES."""
    rows = CACHE_BYTES // (max(sizes) * np.dtype(dtype).itemsize)
    return min(max(rows, MIN_ROWS), MAX_ROWS)


def split(rows: RowIndex, size: int) -> list[Block]:
    """Cut a slice of step 1, or an array of row numbers, into blocks of at most ``size`` rows."""
    is_slice = isinstance(rows, slice)
    first, n_rows = (rows.start, rows.stop - rows.start) if is_slice else (0, len(rows))
    places = [slice(a, min(a + size, n_rows)) for a in range(0, n_rows, size)]
    return [
        Block(
            slice(first + at.start, first + at.stop) if is_slice else rows[at],
            at,
            at.stop - at.start,
        )
        for at in places
    ]


class RowBlocks:
    """Rows cut into blocks, and neighbouring blocks grouped into parts.

    Parameters
    ----------
    rows : slice of step 1 or array of int
    n_rows : int
        How many they are.
    size : int
        The most rows of a block.
    work : int
        Multiplications that all rows take together; there are several parts only where they pay
        for threads.

    Attributes
    ----------
    parts : list of list of Block
        At most MAX_PARTS, whatever the number of threads.
    """

    def __init__(self, rows: RowIndex, n_rows: int, size: int, work: int):
        n_parts = min(1 << (work // PART_WORK | 1).bit_length() - 1, MAX_PARTS, n_rows)
        if n_parts == 1 and n_rows <= size:
            self.parts = [[Block(rows, slice(0, n_rows), n_rows)]]
            return
        n_blocks = max(-(-n_rows // size), n_parts)
        blocks = split(rows, -(-n_rows // n_blocks))
        cuts = [len(blocks) * k // n_parts for k in range(n_parts + 1)]
        self.parts = [blocks[a:b] for a, b in itertools.pairwise(cuts) if a < b]

    def sum(self, part_sums: Callable[[list[Block]], tuple]) -> list:
        """Add up what ``part_sums`` returns, numbers or arrays, over the parts."""
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
        """Call ``fill_part`` with every part, side by side, each to write its own rows."""

        run(lambda k: fill_part(self.parts[k]), len(self.parts))
