"""Where tiles lie along the image axes: all at pixel 0, or as a mosaic on one pixel grid. Pure numpy."""

from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError
from slicedfs.layout.coords import CONVENTIONS, MAX_LENGTH_PX, OFF_GRID_PX, Fit, PixelCoords, Ranges, fit_ranges
from slicedfs.model import TileSetDocument
from slicedfs.url import redact

__all__ = ["Lattice", "coordinate_name", "lattice"]

_SHOWN_TILES = 3
_STATED_PX = 1e-6
"""An end that a tile states is taken as it is, where it lies this close to the grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Where tiles lie along the image axes, and the cells that their edges cut."""

    edges: tuple[NDArray[np.int64], ...]
    """One array an image axis: starts of its cells and the end of the last, in pixels, ascending from 0."""
    first_cells: NDArray[np.int64]
    """(n tiles, image axes): the cell in which each tile starts."""
    one_cell_each: bool
    """True where every tile covers one cell, so that none overlap and all share their edges."""
    origins: NDArray[np.int64] | None
    """(n tiles, image axes) in pixels; None where no tile lies elsewhere than 0."""
    ranges: tuple[tuple[float, float] | None, ...]
    """Of a mosaic, the whole range of each image axis in physical coordinates; None where there is none."""

    @property
    def is_mosaic(self) -> bool:
        """True where tiles lie beside each other."""
        return self.origins is not None


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """The tiles of a mosaic along one image axis."""

    dim: str
    name: str | None
    """Of the coordinate; None where there is none, and every tile starts at pixel 0."""
    ranges: Ranges


def coordinate_name(document: TileSetDocument, dim: str) -> str | None:
    """Return the name of the coordinate along `dim` ("xc" before "x"), or None."""
    return next((name for name in (f"{dim}c", dim) if name in document.tiles.coordinates), None)


def lattice(
    document: TileSetDocument,
    positions: NDArray[np.int64],
    image_dims: tuple[str, ...],
    shapes: NDArray[np.int64],
    pixel_coords: PixelCoords,
) -> Lattice:
    """Lay out tiles: a mosaic where some position (flattened, one a tile) has several, else all at pixel 0.

    Documents that were put side by side (merged, not stacked) always form a mosaic. Where documents were stacked, the
    mosaic of each begins at pixel 0.

    Raises
    ------
    ManifestError
        See :func:`slicedfs.layout.placement.place`.
    """
    side_by_side = bool(document.parts) and document.stack is None
    if not side_by_side and not _has_repeats(positions):
        return _stacked(document, shapes)
    sides = [_side(document, dim, shapes[:, axis]) for axis, dim in enumerate(image_dims)]
    fits = [fit_ranges(side.ranges, pixel_coords) for side in sides]
    if any(fit.fault for fit in fits):
        _refuse_equal_coordinates(document, positions, sides)
        _refuse_misfits(document, sides, fits, pixel_coords)
    origins = np.stack([fit.origins for fit in fits], axis=1)
    _refuse_same_place(document, positions, origins, shapes)
    wholes = tuple(_whole(side, fit, pixel_coords) for side, fit in zip(sides, fits, strict=True))
    return _cut(origins, origins + shapes, wholes)


def _has_repeats(positions: NDArray[np.int64]) -> bool:
    """Tell whether several tiles have one position; marking them takes a tenth of the time of np.unique."""
    seen = np.zeros(int(positions.max(initial=0)) + 1, bool)
    seen[positions] = True
    return int(np.count_nonzero(seen)) < len(positions)


def _cut(
    origins: NDArray[np.int64], ends: NDArray[np.int64], wholes: tuple[tuple[float, float] | None, ...]
) -> Lattice:
    """Cut the axes into cells at the edges of the tiles."""
    axes = range(origins.shape[1])
    edges = tuple(np.unique(np.concatenate([[0], origins[:, axis], ends[:, axis]])) for axis in axes)
    first = np.stack([np.searchsorted(e, origins[:, axis]) for axis, e in enumerate(edges)], axis=1)
    last = np.stack([np.searchsorted(e, ends[:, axis]) for axis, e in enumerate(edges)], axis=1)
    return Lattice(edges, first, bool((last - first == 1).all()), origins, wholes)


def _stacked(document: TileSetDocument, shapes: NDArray[np.int64]) -> Lattice:
    """Lay every tile at pixel 0."""
    odd = np.flatnonzero((shapes != shapes[0]).any(axis=1))
    if len(odd):
        tile = int(odd[0])
        raise ManifestError(
            f"{redact(document.url)}: {_named(document, tile)} has shape {tuple(shapes[tile].tolist())}, but "
            f"{_named(document, 0)} has {tuple(shapes[0].tolist())}; {_count(len(odd), len(shapes))}. Tiles of one "
            "array must have one shape, unless their coordinates place them side by side. Put them into separate tile "
            "sets.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].tile_shape",
        )
    zeros = np.zeros_like(shapes)
    edges = tuple(np.array([0, size]) for size in shapes[0])
    return Lattice(edges, zeros, one_cell_each=True, origins=None, ranges=(None,) * len(edges))


def _side(document: TileSetDocument, dim: str, sizes: NDArray[np.int64]) -> _Side:
    """Gather what the tiles say along one image axis; raise where they say too little."""
    part = document.tiles.indices[document.stack] if document.stack else np.zeros(len(sizes), np.int64)
    name = coordinate_name(document, dim)
    if name is None:
        _refuse_unplaced(document, dim, sizes)
        zeros = np.zeros(len(sizes))
        return _Side(dim, None, Ranges(zeros, zeros, sizes, part))
    start, stop = document.tiles.coordinates[name].T
    absent = np.flatnonzero(np.isnan(start))
    if len(absent):
        tile = int(absent[0])
        raise ManifestError(
            f"{redact(document.url)}: {_named(document, tile)} is part of a mosaic, but has no coordinate {name}; "
            f"{_count(len(absent), len(sizes), 'lack it')}. Give each tile the range that it covers.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].coordinates.{name}",
        )
    return _Side(dim, name, Ranges(start, stop, sizes, part))


def _whole(side: _Side, fit: Fit, convention: PixelCoords) -> tuple[float, float] | None:
    """Return the physical range of the whole axis; None where there is none, or stacked mosaics have different ones."""
    if side.name is None:
        return None
    ranges = side.ranges
    ends = fit.origins + ranges.sizes
    length = int(ends.max())
    starts, stops = fit.bases, fit.bases + fit.width * (length if convention == "edges" else length - 1)
    near = abs(fit.width) * _STATED_PX
    if np.ptp(starts) > near:
        return None
    last = ranges.stop[(ends == length) & (ranges.part == 0) & (np.abs(ranges.stop - stops[0]) <= near)]
    return float(starts[0]), float(last[0] if len(last) else stops[0])


def _refuse_unplaced(document: TileSetDocument, dim: str, sizes: NDArray[np.int64]) -> None:
    odd = np.flatnonzero(sizes != sizes[0])
    if len(odd):
        tile = int(odd[0])
        raise ManifestError(
            f"{redact(document.url)}: {_named(document, tile)} is {sizes[tile]} px long along {dim}, but "
            f"{_named(document, 0)} is {sizes[0]} px, and no tile has a coordinate {dim} that places it; "
            f"{_count(len(odd), len(sizes))}. Give each tile the range that it covers.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].coordinates.{dim}",
        )


def _refuse_equal_coordinates(document: TileSetDocument, positions: NDArray[np.int64], sides: list[_Side]) -> None:
    """Raise where two tiles have one position and the same coordinates, to the bit."""
    columns = [column for side in sides for column in (side.ranges.start, side.ranges.stop)]
    _refuse_equal(document, np.stack([positions.astype(np.float64), *columns], axis=1), np.arange(len(positions)))


def _refuse_same_place(
    document: TileSetDocument, positions: NDArray[np.int64], origins: NDArray[np.int64], shapes: NDArray[np.int64]
) -> None:
    """Raise where two tiles of one position cover the same pixels; their coordinates differ by noise at most."""
    key = positions.copy()
    for column in (*origins.T, *shapes.T):
        key = key * 1_000_003 + column  # may overflow: a hash, that only equal places are sure to share
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    if len(twice):
        some = np.unique(np.concatenate([order[twice], order[twice + 1]]))
        _refuse_equal(document, np.column_stack([positions, origins, shapes])[some].astype(np.float64), some)


def _refuse_equal(document: TileSetDocument, rows: NDArray[np.float64], tiles: NDArray[np.int64]) -> None:
    """Raise where two of the `rows`, which belong to `tiles`, are equal."""
    order = np.lexsort(rows.T[::-1])
    same = np.flatnonzero((rows[order[1:]] == rows[order[:-1]]).all(axis=1))
    if len(same):
        pairs = np.sort(tiles[np.column_stack([order[same], order[same + 1]])], axis=1)
        first, second = min(map(tuple, pairs.tolist()))
        where = document.where(first) or "the only position"
        more = f", and so are {len(same) - 1} more pairs" if len(same) > 1 else ""
        raise ManifestError(
            f"{redact(document.url)}: {_named(document, first, labels=False)} and "
            f"{_named(document, second, labels=False)} are both at {where} with the same coordinates{more}. Give them "
            "different indices, or coordinates side by side.",
            url=redact(document.url),
            pointer=f"tiles[{second}]",
        )


def _refuse_misfits(
    document: TileSetDocument, sides: list[_Side], fits: list[Fit], convention: PixelCoords
) -> NoReturn:
    """Say which tiles do not fit, by how much, and whether the other reading of ranges would do."""
    side, fit = next((side, fit) for side, fit in zip(sides, fits, strict=True) if fit.fault)
    bad = np.flatnonzero(fit.off_px)
    tile = int(fit.off_px.argmax())
    also = [f"{_named(document, int(i))} by {fit.off_px[i]:.3g} px" for i in bad[: _SHOWN_TILES + 1] if i != tile]
    shown = f" (also {', '.join(also[:_SHOWN_TILES])}{', …' * (len(bad) > _SHOWN_TILES + 1)})" if also else ""
    raise ManifestError(
        f"{redact(document.url)}: {_named(document, tile)}: coordinates.{side.name} "
        f"{_fault(side, fit, tile, convention)}; "
        f"{_count(len(bad), len(fit.off_px))}{'' if fit.fault == 'width' else shown}. "
        f"{_other_reading(sides, fits, convention)}",
        url=redact(document.url),
        pointer=f"tiles[{tile}].coordinates.{side.name}",
        value=[float(side.ranges.start[tile]), float(side.ranges.stop[tile])],
    )


def _fault(side: _Side, fit: Fit, tile: int, convention: PixelCoords) -> str:
    """Return what is wrong with the tile that misses the grid most."""
    start, stop, steps = (
        float(column[tile]) for column in (side.ranges.start, side.ranges.stop, side.ranges.steps(convention))
    )
    off, width = f"{fit.off_px[tile]:.3g} px", f"{abs(fit.width):.6g}"
    match fit.fault:
        case "width":
            return f"has no width ({start:.6g} to {stop:.6g}), nor has that of any other tile, so nothing can be placed"
        case "size":
            own = abs(stop - start) / steps if fit.width * (stop - start) >= 0 else -abs(stop - start) / steps
            return (
                f"gives a pixel size of {own:.6g}, but the other tiles have {width}, so that it ends {off} off; one "
                "mosaic needs one pixel size"
            )
        case "far":
            return f"starts {off} from the first tile, at most {MAX_LENGTH_PX} px can be opened as one array"
        case _:
            return (
                f"starts {off} off the pixel grid of the mosaic (pixel size {width}), at most {OFF_GRID_PX} px is "
                "allowed"
            )


def _other_reading(sides: list[_Side], fits: list[Fit], convention: PixelCoords) -> str:
    """Try the other reading of ranges; return what it gives, and what to do."""
    (other,) = (reading for reading in CONVENTIONS if reading != convention)
    tried = [fit_ranges(side.ranges, other) for side in sides]
    ours, theirs = (int(np.any([fit.off_px > 0 for fit in some], axis=0).sum()) for some in (fits, tried))
    if not theirs:
        return f"pixel_coords={other!r} fits all tiles: pass it, or correct the coordinates."
    better = f"better, but not {theirs} of them" if theirs < ours else "no better"
    return f"pixel_coords={other!r} fits {better}. Correct the coordinates, or put the tiles into other tile sets."


def _named(document: TileSetDocument, tile: int, *, labels: bool = True) -> str:
    """Return the number of a tile in its document, its file, and its labels."""
    part = document.part_of(tile)
    where = document.where(tile) if labels else ""
    of = f" of {part.name!r}" if document.parts else ""
    return f"tiles[{tile - part.start}]{of} ({document.tiles.files[tile]!r}{', ' if where else ''}{where})"


def _count(bad: int, all_: int, what: str = "do not fit") -> str:
    return f"{bad} of {all_} tiles {what}"
