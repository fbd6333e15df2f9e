"""Which tiles does a selection touch where tiles lie at any offset and overlap? Pure numpy.

A table of cells (grid.py) needs edges that many tiles share. Tiles that a microscope or a registration placed to the
pixel share none: ten thousand of them would cut the plane into half a billion cells. Here tiles are kept in bins as
large as the largest tile, so that a box meets the tiles of a few neighbouring bins, and what later tiles hide is cut
out of each tile's box when it is asked for. Cost grows with the tiles touched, not with the tiles there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from slicedfs.grid import Index, Paste, Touched
from slicedfs.selection import Group, Points, Selection

__all__ = ["ScatteredGrid", "touched_scattered"]

Box = tuple[tuple[int, int], ...]
"""(start, stop) an axis, half-open."""


@dataclass(frozen=True, slots=True, eq=False)
class ScatteredGrid:
    """Where each tile lies; tiles may overlap, and of two the one with the larger number is on top."""

    shape: tuple[int, ...]
    """Shape of the array: index axes first, then image axes."""
    origins: NDArray[np.int64]
    """(n tiles, image axes): first pixel of each tile."""
    sizes: NDArray[np.int64]
    """(n tiles, image axes) in pixels."""
    bin_px: tuple[int, ...]
    """Size of a bin along each image axis: that of the largest tile."""
    order: NDArray[np.int64]
    """Tile numbers, sorted by bin."""
    keys: NDArray[np.int64]
    """Bin of each entry of `order`, ascending."""

    @classmethod
    def build(
        cls,
        shape: tuple[int, ...],
        positions: NDArray[np.int64],
        origins: NDArray[np.int64],
        sizes: NDArray[np.int64],
    ) -> "ScatteredGrid":
        """Sort tiles into bins.

        Parameters
        ----------
        positions
            (n tiles,): position of each tile in the flattened index axes.
        """
        bin_px = tuple(max(int(size), 1) for size in sizes.max(axis=0))
        image_shape = shape[len(shape) - len(bin_px) :]
        bins = tuple(-(-length // px) for length, px in zip(image_shape, bin_px, strict=True))
        places = [origins[:, axis] // px for axis, px in enumerate(bin_px)]
        keys = np.ravel_multi_index([positions, *places], (max(prod(shape[: len(shape) - len(bins)]), 1), *bins))
        order = np.argsort(keys, kind="stable")
        return cls(shape, origins, sizes, bin_px, order, keys[order])

    @property
    def index_ndim(self) -> int:
        """Number of index axes."""
        return len(self.shape) - len(self.bin_px)

    def touched(self, selection: Selection) -> Touched:
        """Return the tiles that show in `selection`, see :func:`touched_scattered`."""
        return touched_scattered(self, selection)

    @property
    def bins(self) -> tuple[int, ...]:
        """Number of bins along each image axis."""
        return tuple(-(-n // px) for n, px in zip(self.shape[self.index_ndim :], self.bin_px, strict=True))

    def meeting(self, position: int, box: Box) -> NDArray[np.int64]:
        """Return the tiles at a flattened index position that `box` meets, ascending."""
        spans = []
        for (start, stop), px, count in zip(box, self.bin_px, self.bins, strict=True):
            spans.append(range(max((start - px + 1) // px, 0), min((stop - 1) // px + 1, count)))
        *outer, last = spans
        if not len(last):
            return np.zeros(0, np.int64)
        rows = [np.ravel_multi_index((position, *at, last[0]), (position + 1, *self.bins)) for at in product(*outer)]
        starts = np.searchsorted(self.keys, rows, "left")
        stops = np.searchsorted(self.keys, np.asarray(rows) + len(last), "left")
        pieces = [self.order[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]
        found = np.sort(np.concatenate(pieces)) if pieces else np.zeros(0, np.int64)
        lows, highs = np.array(box, np.int64).T
        inside = (self.origins[found] < highs) & (self.origins[found] + self.sizes[found] > lows)
        meeting: NDArray[np.int64] = found[inside.all(axis=1)]
        return meeting


def touched_scattered(grid: ScatteredGrid, selection: Selection) -> Touched:
    """Return the tiles that show in `selection`, with source and destination of each visible part."""
    groups = selection.groups
    shape = tuple(prod(group.shape) for group in groups)
    if 0 in shape:
        return Touched({}, missing=False, shape=shape)
    simple = [place for place, group in enumerate(groups) if _is_simple(group, grid.index_ndim)]
    others = [place for place in range(len(groups)) if place not in simple]
    tiles: dict[int, list[Paste]] = {}
    missing = False
    axes = {groups[place].axes[0] - grid.index_ndim: _Axis.of(groups[place]) for place in simple}
    for elements in product(*(range(shape[place]) for place in others)):
        fixed = _fixed(groups, others, elements)
        window = _Window(grid, axes, fixed)
        covered = 0
        for tile, visible in window.visible():
            covered += prod(stop - start for start, stop in visible)
            part = window.paste(tile, visible, (groups, simple, others), elements)
            tiles.setdefault(tile, []).append(part)
        missing |= covered < window.size
    return Touched(tiles, missing=missing, shape=shape)


def _is_simple(group: Group, index_ndim: int) -> bool:
    """Tell whether a group is one image axis alone."""
    return len(group.axes) == 1 and group.axes[0] >= index_ndim


@dataclass(frozen=True, slots=True, eq=False)
class _Axis:
    """The positions wanted along one image axis, ascending, and where each goes."""

    positions: NDArray[np.int64]
    order: NDArray[np.int64]

    @classmethod
    def of(cls, group: Group) -> "_Axis":
        positions = group.arrays[0].ravel() if isinstance(group, Points) else np.asarray(group.indices, np.int64)
        order = np.argsort(positions, kind="stable")
        return cls(positions[order], order)


def _fixed(groups: tuple[Group, ...], others: list[int], elements: tuple[int, ...]) -> dict[int, int]:
    """Return axis -> position for one element of each group that is not simple."""
    fixed: dict[int, int] = {}
    for place, element in zip(others, elements, strict=True):
        group = groups[place]
        if isinstance(group, Points):
            fixed |= {a: int(array.flat[element]) for a, array in zip(group.axes, group.arrays, strict=True)}
        else:
            fixed[group.axis] = group.indices[element]
    return fixed


class _Window:
    """What is wanted of the plane at one index position: a box in the space of wanted positions."""

    def __init__(self, grid: ScatteredGrid, axes: dict[int, _Axis], fixed: dict[int, int]) -> None:
        self.grid, self.fixed = grid, fixed
        self.axes = [axes.get(axis) for axis in range(len(grid.bin_px))]
        counts = grid.shape[: grid.index_ndim]
        at = tuple(fixed[axis] for axis in range(grid.index_ndim))
        self.position = int(np.ravel_multi_index(at, counts)) if at else 0
        self.size = prod(1 if axis is None else len(axis.positions) for axis in self.axes)

    def visible(self) -> Iterator[tuple[int, Box]]:
        """Yield (tile, box) for every visible part, in wanted positions; boxes are disjoint."""
        found = self.grid.meeting(self.position, tuple(self._extent(axis) for axis in range(len(self.axes))))
        boxes = {int(tile): box for tile in found.tolist() if (box := self._box(tile)) is not None}
        for tile, box in boxes.items():
            pieces = [box]
            own = tuple(zip(self.grid.origins[tile], self.grid.origins[tile] + self.grid.sizes[tile], strict=True))
            for later in self.grid.meeting(self.position, own).tolist():
                if later > tile and later in boxes:
                    pieces = [rest for piece in pieces for rest in _without(piece, boxes[later])]
            yield from ((tile, piece) for piece in pieces)

    def paste(
        self, tile: int, box: Box, places: tuple[tuple[Group, ...], list[int], list[int]], elements: tuple[int, ...]
    ) -> Paste:
        """Turn a box of wanted positions into pixels of `tile` and places of the output."""
        groups, simple, others = places
        src: list[Index] = []
        for axis, (start, stop) in enumerate(box):
            wanted = self.axes[axis]
            if wanted is None:
                at = self.fixed[axis + self.grid.index_ndim]
                positions = np.array([at])
            else:
                positions = wanted.positions[start:stop]
            src.append(_evenly(positions - self.grid.origins[tile, axis]))
        dst: list[Index] = [slice(None)] * len(groups)
        for place in simple:
            axis = groups[place].axes[0] - self.grid.index_ndim
            wanted, (start, stop) = self.axes[axis], box[axis]
            dst[place] = slice(None) if wanted is None else _evenly(wanted.order[start:stop])
        for place, element in zip(others, elements, strict=True):
            dst[place] = slice(element, element + 1, 1)
        return Paste(tuple(src), tuple(dst))

    def _extent(self, axis: int) -> tuple[int, int]:
        wanted = self.axes[axis]
        if wanted is None:
            at = self.fixed[axis + self.grid.index_ndim]
            return at, at + 1
        return int(wanted.positions[0]), int(wanted.positions[-1]) + 1

    def _box(self, tile: int) -> Box | None:
        """Return the part of the wanted positions that lies in `tile`; None where it is empty."""
        box = []
        for axis, wanted in enumerate(self.axes):
            start = self.grid.origins[tile, axis]
            if wanted is None:
                box.append((0, 1))
            else:
                low, high = np.searchsorted(wanted.positions, [start, start + self.grid.sizes[tile, axis]])
                box.append((int(low), int(high)))
        return None if any(low >= high for low, high in box) else tuple(box)


def _without(box: Box, hole: Box) -> Iterator[Box]:
    """Yield disjoint boxes that make up `box` without `hole`."""
    shared = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, hole, strict=True))
    if any(low >= high for low, high in shared):
        yield box
        return
    rest = list(box)
    for axis, ((start, stop), (low, high)) in enumerate(zip(box, shared, strict=True)):
        if start < low:
            yield (*rest[:axis], (start, low), *rest[axis + 1 :])
        if high < stop:
            yield (*rest[:axis], (high, stop), *rest[axis + 1 :])
        rest[axis] = (low, high)


def _evenly(positions: NDArray[np.int64]) -> Index:
    """Return `positions` as a slice where they are evenly stepped (slices copy many times faster)."""
    if len(positions) == 1:
        return slice(int(positions[0]), int(positions[0]) + 1, 1)
    step = int(positions[1] - positions[0])
    if step == 0 or not (np.diff(positions) == step).all():
        return positions
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(int(positions[0]), None if stop < 0 else stop, step)
