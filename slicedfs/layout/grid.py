"""Which tiles does a selection touch, and which part of each? Pure numpy.

A grid cuts every axis of the array into cells. Along index axes (r, c, z …) each position is a cell of its own; along
image axes (y, x, and z where tiles are stacks) a cell is an interval of pixels that one tile covers. A table holds the
tile of each combination of cells. Looking up costs as much as the selection touches, whatever the number of tiles.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import compress, cycle, product
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicedfs.layout.selection import Group, Points, Selection, Span

__all__ = ["Index", "Paste", "TileGrid", "Touched", "evenly", "paste", "touched"]

Index = slice | NDArray[np.int64]

_ALL = slice(None)


@dataclass(frozen=True, slots=True, eq=False)
class TileGrid:
    """Where each tile lies in the array."""

    shape: tuple[int, ...]
    """Shape of the array: index axes first, then image axes."""
    edges: tuple[NDArray[np.int64], ...]
    """One array an image axis: where its cells start, and the end of the last, ascending from 0."""
    table: NDArray[np.int32]
    """Tile number for each combination of cells; -1 where there is none."""
    origins: NDArray[np.int64] | None = None
    """(n tiles, image axes): first pixel of each tile; None where every tile starts at pixel 0."""

    @property
    def index_ndim(self) -> int:
        """Number of index axes."""
        return len(self.shape) - len(self.edges)

    def touched(self, selection: Selection) -> "Touched":
        """Return the tiles that `selection` intersects, see :func:`touched`."""
        return touched(self, selection)


class Paste(NamedTuple):
    """One rectangle of one tile and its place in the output; a tuple, since a million are made at a time."""

    src: tuple[Index, ...]
    """One slice (positive step) or array an image axis, in pixels of the tile."""
    dst: tuple[Index, ...]
    """One slice (any step) or array a group of the selection, in positions of the flattened output."""


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """The tiles that a selection touches."""

    tiles: dict[int, list[Paste]]
    """Tile number -> its parts; each tile once."""
    missing: bool
    """True where part of the selection belongs to no tile."""
    shape: tuple[int, ...]
    """Shape of the flattened output: one axis a group of the selection."""


class _Part(NamedTuple):
    """What one group of the selection wants of one combination of cells of its axes."""

    cells: tuple[int, ...]
    src: tuple[Index, ...]
    dst: Index


def touched(grid: TileGrid, selection: Selection) -> Touched:
    """Return the tiles of `grid` that `selection` intersects, with source and destination of each part."""
    groups = selection.groups
    shape = tuple(prod(group.shape) for group in groups)
    if 0 in shape:
        return Touched({}, missing=False, shape=shape)
    parts = [list(_parts(grid, group)) for group in groups]
    numbers = _numbers(grid, groups, parts)
    flat = numbers.ravel()
    hits = flat >= 0
    found = flat[hits].tolist()
    pastes = _alike(grid, groups, parts, numbers) or _each(grid, groups, parts, flat.tolist())
    tiles = _listed(found, compress(pastes, hits.tolist()) if len(found) < flat.size else pastes)
    return Touched(tiles, missing=len(found) < flat.size, shape=shape)


def _listed(found: list[int], pastes: Iterable[Paste]) -> dict[int, list[Paste]]:
    """Return tile -> its parts, from one tile number a part."""
    pasted = list(pastes)
    tiles = dict(zip(found, map(list, zip(pasted, strict=True)), strict=True))
    if len(tiles) < len(found):  # some tile covers several cells
        tiles = {tile: [] for tile in tiles}
        for tile, part in zip(found, pasted, strict=True):
            tiles[tile].append(part)
    return tiles


def _alike(
    grid: TileGrid, groups: tuple[Group, ...], parts: list[list[_Part]], numbers: NDArray[np.int32]
) -> Iterator[Paste] | None:
    """Yield the paste of each combination of parts, where the pixels that are wanted of a tile depend on its cell only.

    That is so where the image axes were selected from one by one, and every tile starts where its cell does. Slices are
    then made once a part, not once a tile, and no step of the loop over tiles is Python's own. None where it is not so.
    """
    ndim = len(grid.edges)
    if [group.axes for group in groups[-ndim:]] != [(grid.index_ndim + axis,) for axis in range(ndim)]:
        return None
    sources: list[list[Index]] = []
    for axis, of_group in enumerate(parts[-ndim:]):
        starts = np.zeros(len(of_group), np.int64)
        if grid.origins is not None:
            starts = grid.edges[axis][[part.cells[0] for part in of_group]]
            shaped = starts.reshape([-1 if i == axis else 1 for i in range(ndim)])
            if not ((grid.origins[numbers, axis] == shaped) | (numbers < 0)).all():
                return None
        sources.append([_shifted(part.src[0], start) for part, start in zip(of_group, starts.tolist(), strict=True)])
    src = cycle(list(product(*sources)))  # the last axes vary fastest
    return map(Paste, src, product(*([part.dst for part in of_group] for of_group in parts)))


def _each(grid: TileGrid, groups: tuple[Group, ...], parts: list[list[_Part]], tiles: list[int]) -> Iterator[Paste]:
    """Yield the paste of each combination of parts, whatever was selected; `tiles` are their numbers."""
    for tile, chosen in zip(tiles, product(*parts), strict=True):
        yield _placed(grid, groups, chosen, tile)


def paste(tile: NDArray[np.generic], out: NDArray[np.generic], part: Paste, groups: tuple[Group, ...]) -> None:
    """Copy one part of `tile` (image axes only) into `out` (one axis a group)."""
    if all(isinstance(index, slice) for index in (*part.src, *part.dst)) and _plain(groups, len(part.src)):
        out[part.dst] = tile[part.src]
        return
    out[np.ix_(*(_positions(dst, size) for dst, size in zip(part.dst, out.shape, strict=True)))] = _gathered(
        tile, part, groups
    )


def _plain(groups: tuple[Group, ...], image_ndim: int) -> bool:
    """Tell whether the last groups are exactly the image axes, one each."""
    ndim = sum(len(group.axes) for group in groups)
    return all(len(group.axes) == 1 or max(group.axes) < ndim - image_ndim for group in groups)


def _gathered(tile: NDArray[np.generic], part: Paste, groups: tuple[Group, ...]) -> NDArray[np.generic]:
    """Return the wanted pixels of `tile` with one axis a group (length 1 where a group has no image axis)."""
    index_ndim = sum(len(group.axes) for group in groups) - len(part.src)
    meshed: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(part.src)
    for place, group in enumerate(groups):
        for axis in group.axes:
            if axis >= index_ndim:
                positions = _positions(part.src[axis - index_ndim], tile.shape[axis - index_ndim])
                shape = [-1 if i == place else 1 for i in range(len(groups))]
                meshed[axis - index_ndim] = positions.reshape(shape)
    return tile[tuple(meshed)]


def _positions(index: Index, size: int) -> NDArray[np.int64]:
    return np.arange(size)[index] if isinstance(index, slice) else index


def _numbers(grid: TileGrid, groups: tuple[Group, ...], parts: list[list[_Part]]) -> NDArray[np.int32]:
    """Return the tile number for each combination of parts, one axis a group."""
    cells: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(grid.shape)
    for place, (group, of_group) in enumerate(zip(groups, parts, strict=True)):
        columns = np.array([part.cells for part in of_group], np.int64).reshape(len(of_group), len(group.axes)).T
        for axis, column in zip(group.axes, columns, strict=True):
            cells[axis] = column.reshape([-1 if i == place else 1 for i in range(len(groups))])
    return np.asarray(grid.table[tuple(cells)])


def _placed(grid: TileGrid, groups: tuple[Group, ...], chosen: tuple[_Part, ...], tile: int) -> Paste:
    """Turn positions of the array into pixels of `tile`."""
    src: list[Index] = [slice(None)] * len(grid.edges)
    for group, part in zip(groups, chosen, strict=True):
        for axis, wanted in zip(group.axes, part.src, strict=True):
            if axis >= grid.index_ndim:
                start = 0 if grid.origins is None else int(grid.origins[tile, axis - grid.index_ndim])
                src[axis - grid.index_ndim] = _shifted(wanted, start)
    return Paste(tuple(src), tuple(part.dst for part in chosen))


def _shifted(wanted: Index, start: int) -> Index:
    if not start:
        return wanted
    if isinstance(wanted, slice):
        return slice(wanted.start - start, wanted.stop - start, wanted.step)
    return wanted - start


def _parts(grid: TileGrid, group: Group) -> Iterator[_Part]:
    """Cut one group into the combinations of cells that it touches."""
    if isinstance(group, Points):
        return _point_parts(grid, group)
    if group.axis < grid.index_ndim:
        return _position_parts(group)
    return _interval_parts(group, grid.edges[group.axis - grid.index_ndim])


def _position_parts(span: Span) -> Iterator[_Part]:
    """Cut a span along an index axis: each position is a cell, of which there is nothing to choose."""
    for place, position in enumerate(span.indices):
        yield _Part((position,), (_ALL,), slice(place, place + 1, 1))


def _interval_parts(span: Span, edges: NDArray[np.int64]) -> Iterator[_Part]:
    """Cut a span along an image axis; cells that a large step jumps over are left out."""
    reverse = span.indices.step < 0
    ascending = span.indices[::-1] if reverse else span.indices
    first, step, count = ascending.start, ascending.step, len(ascending)
    low, high = np.searchsorted(edges, [first, ascending[-1]], "right") - 1
    bounds = np.clip(-((first - edges[low : high + 2]) // step), 0, count)  # first place at or past each edge
    bounds = np.maximum(bounds, 0)
    for cell, (start, stop) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True), int(low)):
        if start < stop:
            src = slice(first + start * step, first + (stop - 1) * step + 1, step)
            yield _Part((cell,), (src,), _reversed(start, stop, count) if reverse else slice(start, stop, 1))


def _reversed(start: int, stop: int, count: int) -> slice:
    """Return the places `start` to `stop` counted from the end of `count`, descending."""
    last = count - 1 - stop
    return slice(count - 1 - start, None if last < 0 else last, -1)


def _point_parts(grid: TileGrid, points: Points) -> Iterator[_Part]:
    """Cut points by the cells they lie in."""
    flat = [array.ravel() for array in points.arrays]
    cells = [
        array if axis < grid.index_ndim else np.searchsorted(grid.edges[axis - grid.index_ndim], array, "right") - 1
        for axis, array in zip(points.axes, flat, strict=True)
    ]
    joint = np.ravel_multi_index(cells, tuple(grid.table.shape[axis] for axis in points.axes))
    order = np.argsort(joint, kind="stable")
    starts = np.flatnonzero(np.diff(joint[order], prepend=-1))
    for chosen in np.split(order, starts[1:]):
        at = tuple(int(cell[chosen[0]]) for cell in cells)
        yield _Part(at, tuple(evenly(array[chosen], descending=False) for array in flat), evenly(chosen))


def evenly(positions: NDArray[np.int64], *, descending: bool = True) -> Index:
    """Return `positions` as a slice where they are evenly stepped (slices copy many times faster).

    Parameters
    ----------
    descending
        False: only where they ascend, as pixels of a tile must.
    """
    if len(positions) == 1:
        return slice(int(positions[0]), int(positions[0]) + 1, 1)
    step = int(positions[1] - positions[0])
    if step == 0 or (step < 0 and not descending) or not (np.diff(positions) == step).all():
        return positions
    stop = int(positions[-1]) + (1 if step > 0 else -1)
    return slice(int(positions[0]), None if stop < 0 else stop, step)
