"""Where tiles lie along the image axes: all at pixel 0, or as a mosaic on one pixel grid. Pure numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slicedfs.coords import PixelCoords, pixel_size
from slicedfs.errors import ManifestError
from slicedfs.model import TileSetDocument
from slicedfs.url import redact

__all__ = ["OFF_GRID_PX", "Lattice", "coordinate_name", "lattice"]

OFF_GRID_PX = 0.01
"""Tiles of a mosaic may lie off the pixel grid by this much, in pixels."""
_WIDTH_TOLERANCE = 1e-3


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

    Where documents were stacked, the mosaic of each begins at pixel 0.

    Raises
    ------
    ManifestError
        See :func:`slicedfs.placement.place`.
    """
    if len(np.unique(positions)) == len(positions):
        return _stacked(document, shapes)
    _refuse_duplicates(document, positions, image_dims)
    stacked = document.tiles.indices[document.stack] if document.stack else np.zeros(len(positions), np.int64)
    columns = [_along(document, dim, shapes[:, axis], pixel_coords, stacked) for axis, dim in enumerate(image_dims)]
    origins = np.stack([column for column, _ in columns], axis=1)
    ends = origins + shapes
    edges = tuple(np.unique(np.concatenate([[0], origins[:, axis], ends[:, axis]])) for axis in range(len(image_dims)))
    first = np.stack([np.searchsorted(e, origins[:, axis]) for axis, e in enumerate(edges)], axis=1)
    last = np.stack([np.searchsorted(e, ends[:, axis]) for axis, e in enumerate(edges)], axis=1)
    one_cell_each = bool((last - first == 1).all())
    return Lattice(edges, first, one_cell_each, origins, tuple(whole for _, whole in columns))


def _stacked(document: TileSetDocument, shapes: NDArray[np.int64]) -> Lattice:
    """Lay every tile at pixel 0."""
    odd = np.flatnonzero((shapes != shapes[0]).any(axis=1))
    if len(odd):
        tile = int(odd[0])
        raise ManifestError(
            f"{redact(document.url)}: tiles[{tile}] has shape {tuple(shapes[tile].tolist())}, but tiles[0] has "
            f"{tuple(shapes[0].tolist())}; tiles of one array must have one shape, unless their coordinates place them "
            "side by side. Put them into separate tile sets.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].tile_shape",
        )
    zeros = np.zeros_like(shapes)
    edges = tuple(np.array([0, size]) for size in shapes[0])
    return Lattice(edges, zeros, one_cell_each=True, origins=None, ranges=(None,) * len(edges))


def _refuse_duplicates(document: TileSetDocument, positions: NDArray[np.int64], image_dims: tuple[str, ...]) -> None:
    """Raise where two tiles have one position and the same coordinates along the image axes."""
    names = [name for dim in image_dims if (name := coordinate_name(document, dim)) is not None]
    columns = [positions.astype(np.float64)[:, None], *(document.tiles.coordinates[name] for name in names)]
    keys = np.nan_to_num(np.concatenate(columns, axis=1), nan=np.inf)
    order = np.lexsort(keys.T[::-1])
    same = np.flatnonzero((keys[order[1:]] == keys[order[:-1]]).all(axis=1))
    if len(same):
        pair = min(sorted((int(order[i]), int(order[i + 1]))) for i in same)
        where = document.tiles.where(pair[0])
        raise ManifestError(
            f"{redact(document.url)}: tiles[{pair[0]}] ({document.tiles.files[pair[0]]!r}) and tiles[{pair[1]}] "
            f"({document.tiles.files[pair[1]]!r}) are both at {where or 'the only position'} with the same "
            "coordinates. Give them different indices, or coordinates side by side.",
            url=redact(document.url),
            pointer=f"tiles[{pair[1]}]",
        )


def _along(
    document: TileSetDocument,
    dim: str,
    sizes: NDArray[np.int64],
    pixel_coords: PixelCoords,
    stacked: NDArray[np.int64],
) -> tuple[NDArray[np.int64], tuple[float, float] | None]:
    """Return the first pixel of each tile along `dim`, and the physical range of the whole axis."""
    name = coordinate_name(document, dim)
    if name is None:
        return np.zeros(len(sizes), np.int64), None
    start, stop = document.tiles.coordinates[name].T
    if (start == start[0]).all() and (stop == stop[0]).all() and (sizes == sizes[0]).all():
        return np.zeros(len(sizes), np.int64), (float(start[0]), float(stop[0]))
    _refuse_absent(document, name, start)
    width = _width(document, name, pixel_size(start, stop, sizes, pixel_coords))
    bases = np.full(int(stacked.max()) + 1, np.inf * np.sign(width))
    (np.minimum if width > 0 else np.maximum).at(bases, stacked, start)
    exact = (start - bases[stacked]) / width
    origins = np.round(exact).astype(np.int64)
    off = np.abs(exact - origins)
    if (off > OFF_GRID_PX).any():
        tile = int(off.argmax())
        raise ManifestError(
            f"{redact(document.url)}: tiles[{tile}].coordinates.{name} starts {off[tile]:.3g} px off the pixel grid of "
            f"the mosaic (pixel size {abs(width):.6g}); at most {OFF_GRID_PX} px is allowed. Correct the coordinates, "
            f'or try pixel_coords="{_other(pixel_coords)}".',
            url=redact(document.url),
            pointer=f"tiles[{tile}].coordinates.{name}",
            value=float(start[tile]),
        )
    size = int((origins + sizes).max())
    base = float(bases[0])
    whole = (base, base + width * (size if pixel_coords == "edges" else size - 1))
    return origins, whole if (bases == base).all() else None


def _width(document: TileSetDocument, name: str, widths: NDArray[np.float64]) -> float:
    """Return the one pixel width of a mosaic, signed."""
    usual = float(np.nanmedian(widths)) if np.isfinite(widths).any() else 0.0
    if usual == 0:
        raise ManifestError(
            f"{redact(document.url)}: coordinates.{name} of the tiles of a mosaic have no width, so they cannot be "
            "placed. Give each tile the range that it covers.",
            url=redact(document.url),
            pointer=f"tiles[0].coordinates.{name}",
        )
    odd = np.flatnonzero(np.abs(widths / usual - 1) > _WIDTH_TOLERANCE)
    if len(odd):
        tile = int(odd[0])
        raise ManifestError(
            f"{redact(document.url)}: tiles[{tile}].coordinates.{name} gives a pixel size of {widths[tile]:.6g}, but "
            f"the other tiles have {usual:.6g}; one mosaic needs one pixel size. Correct the coordinates, or put the "
            "tile into another tile set.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].coordinates.{name}",
            value=float(widths[tile]),
        )
    return float(np.nanmean(widths))


def _refuse_absent(document: TileSetDocument, name: str, start: NDArray[np.float64]) -> None:
    absent = np.flatnonzero(np.isnan(start))
    if len(absent):
        tile = int(absent[0])
        raise ManifestError(
            f"{redact(document.url)}: tiles[{tile}] is part of a mosaic, but has no coordinate {name}. Give it the "
            "range that it covers.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].coordinates.{name}",
        )


def _other(convention: PixelCoords) -> PixelCoords:
    return "centers" if convention == "edges" else "edges"
