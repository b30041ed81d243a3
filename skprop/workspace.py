"""The buffers of one block of rows, and a check that a matrix fits the memory of this machine."""

import contextlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .layout import Layout

__all__ = [
    "Spare", "Workspace", "check_memory", "container_memory", "physical_memory", "unit_buffers",
    "without_constant",
]  # fmt: skip


def unit_buffers(
    layout: Layout, n_rows: int, dtype: DTypeLike, members: tuple[int, ...] = ()
) -> list[NDArray]:
    """f_0, …, f_{K-1} with the constant unit 1 as last column, and f_K (see `backprop`).

    With ``members``, one number, they have a first axis of that length.
    """
    *wide, last = layout.sizes
    shape = (*members, n_rows)
    return [*(np.ones((*shape, d + 1), dtype) for d in wide), np.empty((*shape, last), dtype)]


def without_constant(buffers: list[NDArray]) -> list[NDArray]:
    """Views of f_0, …, f_{K-1} without their last column, the constant unit, and f_K."""
    *wide, last = buffers
    return [*(f[..., :-1] for f in wide), last]


class _Buffers(NamedTuple):
    """The lists of arrays of `backprop` for a block, and buffers of its targets and weights."""

    f: list[NDArray]
    z: list[NDArray]
    df: list[NDArray]
    delta: list[NDArray]
    y: NDArray
    w: NDArray


class Workspace:
    """The buffers of one block of at most ``n_rows`` rows, and of its ``gradient``, of shape (P,).

    ``G`` views the gradient layer by layer (`Layout.stacked`). A row has ``n_weights`` weights.
    """

    def __init__(self, layout: Layout, n_rows: int, dtype: DTypeLike, n_weights: int = 1):
        f = unit_buffers(layout, n_rows, dtype)
        df = [f[0], *map(np.empty_like, f[1:])]
        z, delta = without_constant(f), without_constant(df)
        y, w = np.empty_like(f[-1]), np.empty((n_rows, n_weights), dtype)
        self._all = _Buffers(f, z, df, delta, y, w)
        self._first: dict[int, _Buffers] = {}
        self.gradient = np.empty(layout.n_params, dtype)
        self.G = layout.stacked(self.gradient)

    def first(self, m: int) -> _Buffers:
        """The first m rows of the buffers."""
        if m not in self._first:
            if len(self._first) > 3:  # there are two sizes in a run: full blocks and the last
                self._first.clear()
            *lists, y, w = self._all
            self._first[m] = _Buffers(*([a[:m] for a in arrays] for arrays in lists), y[:m], w[:m])
        return self._first[m]


class Spare:
    """Idle workspaces, kept for reuse; each is used by one thread at a time."""

    def __init__(self, make: Callable[[], Any]):
        self._make = make
        self._idle: list[Any] = []

    def take(self, place: object = None) -> Any:
        """An idle workspace, if possible the one with this ``place``, or a new one."""
        if place is not None:
            for workspace in self._idle.copy():
                if workspace.place == place:
                    try:
                        self._idle.remove(workspace)
                        return workspace
                    except ValueError:  # another thread was faster
                        break
        try:
            return self._idle.pop()
        except IndexError:
            return self._make()

    def give_back(self, workspace: Any) -> None:
        """Make a workspace idle again."""
        self._idle.append(workspace)

    def __reduce__(self):
        return Spare, (self._make,)  # buffers are not worth storing


def physical_memory() -> int | None:
    """The memory of this machine or container in bytes; None where the system does not tell."""
    try:
        of_machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows has no `sysconf`
        return None
    return min(of_machine, container_memory() or of_machine)


@cache
def container_memory(root: Path = Path("/")) -> int | None:
    """The least memory that the control groups of this process allow (Linux); None for no limit.

    A container may see the whole tree of groups or its own one as the root, so the limits of all
    groups between this process and the root are read, in the form of version 2 and of version 1.
    """
    limits = []
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)  # "0::/a/b", or "4:memory:/a/b"
        if controllers == "":
            folder, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for at in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                limits.append(int((folder / at / name).read_text(encoding="ascii")))
    return min(limits, default=None)


def check_memory(n_bytes: int, what: str, remedy: str) -> None:
    """A ValueError if ``n_bytes`` exceed the memory of this machine."""
    available = physical_memory()
    if available is not None and n_bytes > available:
        raise ValueError(
            f"{what} needs {n_bytes / 2**30:.3g} GiB; this machine has {available / 2**30:.3g} GiB "
            f"of memory. {remedy}"
        )
