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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.layout.grid import Index, Paste, Touched, evenly
from slicedfs.layout.selection import Group, Points, Selection

__all__ = ["ScatteredGrid", "touched_scattered"]

Box = tuple[tuple[int, int], ...]
"""(start, stop) an axis, half-open."""


_FEW_HOLES = 8
_MAX_KEY_BITS = 62
"""A bin's number is a signed integer of 64 bits."""


@dataclass(frozen=True, slots=True, eq=False)
class _Bins:
    """Tiles of about one size, sorted by the bin in which they start."""

    bin_px: tuple[int, ...]
    """Size of a bin along each image axis: at least that of the largest tile."""
    counts: tuple[int, ...]
    """Number of bins along each image axis."""
    order: NDArray[np.int64]
    """Tile numbers, sorted by bin."""
    keys: NDArray[np.int64]
    """Bin of each entry of `order`, ascending."""

    def near(self, position: int, box: Box) -> list[NDArray[np.int64]]:
        """Return the tiles that start in the bins in which a tile that meets `box` may start."""
        spans = [
            range(max((start - px + 1) // px, 0), min((stop - 1) // px + 1, count))
            for (start, stop), px, count in zip(box, self.bin_px, self.counts, strict=True)
        ]
        *outer, last = spans
        if not len(last):
            return []
        rows = np.array([_key((position, *at, last[0]), self.counts) for at in product(*outer)], np.int64)
        starts = np.searchsorted(self.keys, rows, "left")
        stops = np.searchsorted(self.keys, rows + len(last), "left")
        return [self.order[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True) if a < b]


@dataclass(frozen=True, slots=True, eq=False)
class ScatteredGrid:
    """Where each tile lies; tiles may overlap, and of two the one with the larger number is on top."""

    shape: tuple[int, ...]
    """Shape of the array: index axes first, then image axes."""
    origins: NDArray[np.int64]
    """(n tiles, image axes): first pixel of each tile."""
    sizes: NDArray[np.int64]
    """(n tiles, image axes) in pixels."""
    bins: tuple[_Bins, ...]
    """Tiles in classes by their size, so that a few large ones do not make all bins large."""

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
        usual = np.maximum(np.median(sizes, axis=0), 1)
        classes = np.ceil(np.log2(np.maximum((sizes / usual).max(axis=1), 1))).astype(np.int64)
        groups = [np.flatnonzero(classes == number) for number in np.unique(classes)]
        return cls(shape, origins, sizes, tuple(_binned(shape, of, positions, origins, sizes) for of in groups))

    @property
    def index_ndim(self) -> int:
        """Number of index axes."""
        return len(self.shape) - int(self.origins.shape[1])

    def touched(self, selection: Selection) -> Touched:
        """Return the tiles that show in `selection`, see :func:`touched_scattered`."""
        return touched_scattered(self, selection)

    def meeting(self, position: int, box: Box) -> NDArray[np.int64]:
        """Return the tiles at a flattened index position that `box` meets, ascending."""
        pieces = [piece for bins in self.bins for piece in bins.near(position, box)]
        if not pieces:
            return np.zeros(0, np.int64)
        found = np.sort(np.concatenate(pieces))
        lows, highs = np.array(box, np.int64).T
        inside = (self.origins[found] < highs) & (self.origins[found] + self.sizes[found] > lows)
        meeting: NDArray[np.int64] = found[inside.all(axis=1)]
        return meeting


def _binned(
    shape: tuple[int, ...],
    tiles: NDArray[np.int64],
    positions: NDArray[np.int64],
    origins: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> _Bins:
    """Sort `tiles` into bins; as many bins at most as their numbers can count."""
    ndim = origins.shape[1]
    most = 2 ** ((_MAX_KEY_BITS - prod(shape[:-ndim]).bit_length()) // ndim)
    largest = sizes[tiles].max(axis=0).tolist()
    bin_px = tuple(max(size, 1, -(-length // most)) for size, length in zip(largest, shape[-ndim:], strict=True))
    counts = tuple(-(-length // px) for length, px in zip(shape[-ndim:], bin_px, strict=True))
    keys = _key((positions[tiles], *(origins[tiles, axis] // px for axis, px in enumerate(bin_px))), counts)
    order = np.argsort(keys, kind="stable")
    return _Bins(bin_px, counts, tiles[order], keys[order])


def _key(place: tuple[Any, ...], counts: tuple[int, ...]) -> Any:
    """Return the number of a bin: (position, bin along each axis), rows last; integers or arrays of them."""
    key = place[0]
    for count, at in zip(counts, place[1:], strict=True):
        key = key * count + at
    return key


def touched_scattered(grid: ScatteredGrid, selection: Selection) -> Touched:
    """Return the tiles that show in `selection`, with source and destination of each visible part."""
    groups = selection.groups
    shape = tuple(prod(group.shape) for group in groups)
    if 0 in shape:
        return Touched({}, missing=False, shape=shape)
    simple = {place: _Axis.of(group) for place, group in enumerate(groups) if _is_simple(group, grid.index_ndim)}
    picks = [_Pick.of(place, group) for place, group in enumerate(groups) if place not in simple]
    axes = {groups[place].axes[0] - grid.index_ndim: axis for place, axis in simple.items()}
    tiles: dict[int, list[Paste]] = {}
    missing = False
    for chosen in _alike(grid, axes, picks):
        window = _Window(grid, axes, chosen)
        covered = 0
        for tile, visible in window.visible():
            covered += prod(stop - start for start, stop in visible)
            tiles.setdefault(tile, []).append(window.paste(tile, visible, groups))
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
        positions = _flat(group)[0]
        order = np.argsort(positions, kind="stable")
        return cls(positions[order], order)


@dataclass(frozen=True, slots=True, eq=False)
class _Pick:
    """Some elements of a group that is not simple: of an index axis, or of points along several axes."""

    place: int
    """Of the group."""
    axes: tuple[int, ...]
    elements: NDArray[np.int64]
    """Where they go."""
    positions: tuple[NDArray[np.int64], ...]
    """One array an axis: what they are."""

    @classmethod
    def of(cls, place: int, group: Group) -> "_Pick":
        positions = _flat(group)
        return cls(place, group.axes, np.arange(len(positions[0])), positions)

    def split(self, *keys: NDArray[np.int64]) -> "list[_Pick]":
        """Return one pick for each distinct combination of `keys`."""
        order = np.lexsort(keys[::-1])
        changes = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
        return [
            _Pick(self.place, self.axes, self.elements[some], tuple(array[some] for array in self.positions))
            for some in np.split(order, np.flatnonzero(changes) + 1)
        ]

    def cells(self, edges: dict[int, NDArray[np.int64]]) -> "list[_Pick]":
        """Split by the cells that `edges` cut the axes into; along an axis without edges each position is one."""
        pairs = zip(self.axes, self.positions, strict=True)
        keys = [np.searchsorted(edges[axis], at, "right") if axis in edges else at for axis, at in pairs]
        return self.split(*keys)


def _flat(group: Group) -> tuple[NDArray[np.int64], ...]:
    """Return the positions of each axis of a group."""
    if isinstance(group, Points):
        return tuple(array.ravel() for array in group.arrays)
    return (np.asarray(group.indices, np.int64),)


def _alike(grid: ScatteredGrid, axes: dict[int, _Axis], picks: list[_Pick]) -> Iterator[tuple[_Pick, ...]]:
    """Yield combinations of picks that meet the same tiles in the same way, so that one lookup serves them all.

    First by bins, which say what tiles may be near; then by the edges of those tiles.
    """
    spread = {axis for pick in picks for axis in pick.axes if axis >= grid.index_ndim}
    largest = np.max([bins.bin_px for bins in grid.bins], axis=0)
    steps = {axis: np.arange(0, grid.shape[axis], largest[axis - grid.index_ndim]) for axis in spread}
    for chosen in product(*(pick.cells(steps) for pick in picks)):
        if not spread:
            yield chosen
            continue
        window = _Window(grid, axes, chosen)
        found = grid.meeting(window.position, tuple(window.extent(axis) for axis in range(len(window.axes))))
        origins, ends = grid.origins[found], grid.origins[found] + grid.sizes[found]
        columns = {axis: axis - grid.index_ndim for axis in spread}
        edges = {axis: np.union1d(origins[:, at], ends[:, at]) for axis, at in columns.items()}
        yield from product(*(pick.cells(edges) for pick in chosen))


class _Window:
    """What is wanted of the plane at one index position: a box in the space of wanted positions."""

    def __init__(self, grid: ScatteredGrid, axes: dict[int, _Axis], picks: tuple[_Pick, ...]) -> None:
        self.grid, self.picks = grid, picks
        self.axes = [axes.get(axis) for axis in range(grid.origins.shape[1])]
        self.picked = {axis: at for pick in picks for axis, at in zip(pick.axes, pick.positions, strict=True)}
        index = tuple(int(self.picked[axis][0]) for axis in range(grid.index_ndim))
        self.position = int(np.ravel_multi_index(index, grid.shape[: grid.index_ndim])) if index else 0
        self.size = prod(1 if axis is None else len(axis.positions) for axis in self.axes)

    def visible(self) -> Iterator[tuple[int, Box]]:
        """Yield (tile, box) for every visible part, in wanted positions; boxes are disjoint."""
        extents = tuple(self.extent(axis) for axis in range(len(self.axes)))
        found = self.grid.meeting(self.position, extents)
        boxes = self._boxes(found)
        kept = (boxes[:, :, 0] < boxes[:, :, 1]).all(axis=1)
        found, boxes = found[kept], boxes[kept]
        limits = np.array(extents)
        for number, (tile, box) in enumerate(zip(found.tolist(), boxes, strict=True)):
            start = np.maximum(self.grid.origins[tile], limits[:, 0])
            stop = np.minimum(self.grid.origins[tile] + self.grid.sizes[tile], limits[:, 1])
            near = self.grid.meeting(self.position, tuple(zip(start.tolist(), stop.tolist(), strict=True)))
            later = np.intersect1d(near, found[number + 1 :], assume_unique=True)
            holes = boxes[np.searchsorted(found, later)]
            yield from ((tile, piece) for piece in _uncovered(box, holes))

    def paste(self, tile: int, box: Box, groups: tuple[Group, ...]) -> Paste:
        """Turn a box of wanted positions into pixels of `tile` and places of the output."""
        index_ndim, origin = self.grid.index_ndim, self.grid.origins[tile]
        src: list[Index] = []
        dst: list[Index] = [slice(None)] * len(groups)
        places = {group.axes[0]: place for place, group in enumerate(groups)}
        for axis, (start, stop) in enumerate(box):
            wanted = self.axes[axis]
            if wanted is None:
                src.append(evenly(self.picked[axis + index_ndim] - origin[axis]))
            else:
                src.append(evenly(wanted.positions[start:stop] - origin[axis]))
                dst[places[axis + index_ndim]] = evenly(wanted.order[start:stop])
        for pick in self.picks:
            dst[pick.place] = evenly(pick.elements)
        return Paste(tuple(src), tuple(dst))

    def extent(self, axis: int) -> tuple[int, int]:
        """Return the interval of pixels along an image axis that holds all that is wanted."""
        wanted = self.axes[axis]
        positions = self.picked[axis + self.grid.index_ndim] if wanted is None else wanted.positions
        return int(positions.min()), int(positions.max()) + 1

    def _boxes(self, tiles: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (tiles, axes, 2): start and stop of the wanted positions that lie in each tile."""
        boxes = np.tile(np.array([0, 1]), (len(tiles), len(self.axes), 1))
        for axis, wanted in enumerate(self.axes):
            if wanted is not None:
                start = self.grid.origins[tiles, axis]
                ends = np.stack([start, start + self.grid.sizes[tiles, axis]], axis=1)
                boxes[:, axis] = np.searchsorted(wanted.positions, ends)
        return boxes


def _uncovered(box: NDArray[np.int64], holes: NDArray[np.int64]) -> Iterator[Box]:
    """Yield disjoint boxes that make up `box` (axes, 2) without `holes` (n, axes, 2).

    Where there are many holes the box is halved, so that each part sees only its own.
    """
    holes = holes[((holes[:, :, 0] < box[:, 1]) & (holes[:, :, 1] > box[:, 0])).all(axis=1)]
    if ((holes[:, :, 0] <= box[:, 0]) & (holes[:, :, 1] >= box[:, 1])).all(axis=1).any():
        return
    if len(holes) > _FEW_HOLES:
        axis = int((box[:, 1] - box[:, 0]).argmax())
        middle = box[axis].sum() // 2
        for side in (1, 0):
            half = box.copy()
            half[axis, side] = middle
            yield from _uncovered(half, holes)
        return
    pieces: list[Box] = [_pairs(box)]
    for hole in holes:
        pieces = [rest for piece in pieces for rest in _without(piece, _pairs(hole))]
    yield from pieces


def _pairs(box: NDArray[np.int64]) -> Box:
    return tuple((start, stop) for start, stop in box.tolist())


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
