"""Where the tiles of a document lie in one array: axes, labels, positions, mosaics. Pure numpy.

The rules are the contract's: ``shape`` counts, labels are whatever the tiles say; r and c come first, then the other
index dims, then z, y, x; tiles at one position with different coordinates form a mosaic on one pixel grid.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.layout.coords import PixelCoords, rounded_midpoints
from slicedfs.layout.grid import TileGrid
from slicedfs.layout.merge import refuse_unequal, stack_taken, unequal
from slicedfs.layout.mosaic import Lattice, lattice
from slicedfs.layout.scattered import ScatteredGrid
from slicedfs.model import TileSetDocument
from slicedfs.url import redact

__all__ = ["MAX_POSITIONS", "Axis", "Grid", "Placement", "place", "refuse_empty"]

Grid = TileGrid | ScatteredGrid

MAX_POSITIONS = 2**26
"""More index positions than this are refused: the lookup table would not fit into memory."""
_FEW_CELLS, _CELLS_PER_TILE = 2**20, 16
"""Mosaics of more cells than both are kept in bins, not in a table of cells, most of which would be empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One index axis."""

    dim: str
    """Its name."""
    labels: NDArray[np.int64] | NDArray[np.float64]
    """Its labels, ascending; z midpoints where z is only a coordinate."""
    positions: NDArray[np.int64]
    """(n tiles,): position of each tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """The array that the tiles of one document form."""

    axes: tuple[Axis, ...]
    """Index axes, in the order of the array."""
    image_dims: tuple[str, ...]
    """Dims inside the tiles: of z, y, x, s, in the order of the array."""
    tile_shapes: NDArray[np.int64]
    """(n tiles, image axes) in pixels."""
    lattice: Lattice
    """Where tiles lie along the image axes."""
    grid: Grid
    """The lookup from positions to tiles."""

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes of the array."""
        return (*(axis.dim for axis in self.axes), *self.image_dims)

    @property
    def has_tile(self) -> NDArray[np.bool_]:
        """Which positions of the index axes have a tile."""
        present = np.zeros(tuple(len(axis.labels) for axis in self.axes), bool)
        present[tuple(axis.positions for axis in self.axes)] = True
        return present


def place(
    document: TileSetDocument,
    image_dims: tuple[str, ...],
    header_shape: Mapping[str, int] | None,
    pixel_coords: PixelCoords,
) -> Placement:
    """Place every tile of `document` in one array.

    Parameters
    ----------
    document
        The parsed document.
    image_dims
        Dims inside the tiles, as ("y", "x"), ("z", "y", "x") or ("y", "x", "s").
    header_shape
        dim -> pixels of one tile, read from its header; completes what the document does not state.
    pixel_coords
        How ranges are read when tiles form a mosaic.

    Raises
    ------
    ManifestError
        If the document has no tiles, two tiles are at one place, shapes differ outside a mosaic, or a mosaic does not
        fit one pixel grid.
    """
    refuse_empty(document)
    axes = _index_axes(document, image_dims)
    positions = _linear(document, axes)
    shapes = _tile_shapes(document, image_dims, header_shape)
    if document.stack:
        refuse_unequal(document, shapes)
    placed = lattice(document, positions, image_dims, shapes, pixel_coords)
    if document.stack and placed.origins is not None:
        _refuse_other_lengths(document, image_dims, placed.origins + shapes)
    return Placement(axes, image_dims, shapes, placed, _grid(axes, positions, placed, shapes))


def refuse_empty(document: TileSetDocument) -> None:
    """Raise where the document has no tiles."""
    if not len(document.tiles):
        raise ManifestError(
            f"{redact(document.url)}: tiles is empty, so there is no array. Look at the node with slicedfs.open().",
            url=redact(document.url),
            pointer="tiles",
        )


def _index_axes(document: TileSetDocument, image_dims: tuple[str, ...]) -> tuple[Axis, ...]:
    columns = document.tiles.indices
    if document.stack in image_dims:
        raise stack_taken(document.stack, document.parts[0])
    if "z" in columns and "z" in image_dims:
        columns = _without_z(document)
    first = [document.stack] if document.stack else []
    others = [dim for dim in columns if dim not in ("r", "c", "z", *first)]
    order = [dim for dim in (*first, "r", "c", *others, "z") if dim in columns]
    axes = [_labelled_axis(document, dim) for dim in order]
    if "z" not in columns and "z" not in image_dims:
        axes += _z_from_coordinates(document)
    return tuple(axes)


def _without_z(document: TileSetDocument) -> Mapping[str, NDArray[np.int64]]:
    """Return the index columns of tiles that hold all z planes: z may be counted, but tells no tile from another."""
    columns = dict(document.tiles.indices)
    labelled = np.flatnonzero(columns.pop("z"))
    if len(labelled):
        raise ManifestError(
            f"{redact(document.url)}: z is an index of the tiles, but their files also hold several z planes. "
            "Remove z from the indices, or store one plane a file.",
            url=redact(document.url),
            pointer=f"tiles[{labelled[0]}].indices.z",
        )
    return columns


def _labelled_axis(document: TileSetDocument, dim: str) -> Axis:
    """Build the axis of an index dim: range(count) where that holds all labels, else the labels seen."""
    column = document.tiles.indices[dim]
    if int(column.max()) < document.shape.get(dim, 0):
        count = document.shape[dim]
        _check_positions(document, f"shape.{dim}", count)
        return Axis(dim, np.arange(count), column)
    seen = _distinct(column)
    count = document.shape.get(dim, len(seen))
    if seen[-1] < count:
        return Axis(dim, np.arange(count), column)
    if len(seen) > count:
        warnings.warn(
            f"{redact(document.url)}: shape.{dim} is {count}, but the tiles have {len(seen)} labels ({_few(seen)}). "
            "The labels win.",
            ManifestWarning,
            stacklevel=2,
        )
    return Axis(dim, seen, np.searchsorted(seen, column))


def _distinct(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distinct labels, ascending; counted where they are small: np.unique takes many times longer."""
    if int(labels.max()) <= len(labels):
        return np.flatnonzero(np.bincount(labels))
    return np.unique(labels)


def _z_from_coordinates(document: TileSetDocument) -> list[Axis]:
    """Build the z axis from the distinct midpoints, where z is neither an index nor inside the tiles."""
    name = next((name for name in ("z", "zc") if name in document.tiles.coordinates), None)
    if name is None:
        return []
    middle = document.tiles.coordinates[name].mean(axis=1)
    if np.isnan(middle).any():
        tile = int(np.flatnonzero(np.isnan(middle))[0])
        raise ManifestError(
            f"{redact(document.url)}: tiles[{tile}].coordinates has no {name}, but other tiles do, and z is not an "
            "index. Give every tile one.",
            url=redact(document.url),
            pointer=f"tiles[{tile}].coordinates.{name}",
        )
    middle = rounded_midpoints(middle)
    labels, positions = np.unique(middle, return_inverse=True)
    if document.stack:
        _refuse_other_planes(document, labels, positions)
    return [Axis("z", labels, positions.astype(np.int64))]


def _refuse_other_planes(document: TileSetDocument, labels: NDArray[np.float64], positions: NDArray[np.int64]) -> None:
    """Raise where stacked documents have planes at different z."""
    seen = np.zeros((len(document.parts), len(labels)), bool)
    seen[document.tiles.indices[str(document.stack)], positions] = True
    odd = np.flatnonzero((seen != seen[0]).any(axis=1))
    if len(odd):
        own, first = (_few(labels[seen[part]]) for part in (int(odd[0]), 0))
        what = f"has planes at z {own}, but {document.parts[0].name!r} at {first}"
        raise unequal(document.stack, document.parts[int(odd[0])], what)


def _refuse_other_lengths(document: TileSetDocument, image_dims: tuple[str, ...], ends: NDArray[np.int64]) -> None:
    """Raise where the mosaics of stacked documents differ in length."""
    lengths = np.zeros((len(document.parts), len(image_dims)), np.int64)
    np.maximum.at(lengths, document.tiles.indices[str(document.stack)], ends)
    odd = np.flatnonzero((lengths != lengths[0]).any(axis=1))
    if len(odd):
        own, first = (
            ", ".join(f"{dim}={length}" for dim, length in zip(image_dims, lengths[part].tolist(), strict=True))
            for part in (int(odd[0]), 0)
        )
        what = f"is a mosaic of {own} px, but {document.parts[0].name!r} of {first} px"
        raise unequal(document.stack, document.parts[int(odd[0])], what)


def _check_positions(document: TileSetDocument, pointer: str, count: int) -> None:
    if count > MAX_POSITIONS:
        raise ManifestError(
            f"{redact(document.url)}: {pointer} gives {count} positions, at most {MAX_POSITIONS} can be opened as one "
            "array. Split the tile set.",
            url=redact(document.url),
            pointer=pointer,
            value=count,
        )


def _linear(document: TileSetDocument, axes: tuple[Axis, ...]) -> NDArray[np.int64]:
    """Return the position of each tile in the flattened index axes."""
    counts = tuple(len(axis.labels) for axis in axes)
    _check_positions(document, "shape", prod(counts))
    if not axes:
        return np.zeros(len(document.tiles), np.int64)
    return np.ravel_multi_index([axis.positions for axis in axes], counts).astype(np.int64)


def _tile_shapes(
    document: TileSetDocument, image_dims: tuple[str, ...], header_shape: Mapping[str, int] | None
) -> NDArray[np.int64]:
    """Return (n tiles, image axes): own shape, else the default, else that of the header."""
    tiles = document.tiles
    fallback = {**(header_shape or {}), **(document.default_tile_shape or {})}
    stated = [{**(header_shape or {}), **shape} for shape in tiles.shapes]
    rows = [[shape.get(dim, 1) for dim in image_dims] for shape in [*stated, fallback]]
    table = np.array(rows, np.int64)
    codes = np.array([-1]) if tiles.shape_codes is None else tiles.shape_codes
    distinct = codes[:1] if (codes == codes[0]).all() else codes  # one row takes the place of all
    return np.broadcast_to(table[distinct], (len(tiles), len(image_dims)))


def _grid(axes: tuple[Axis, ...], positions: NDArray[np.int64], placed: Lattice, shapes: NDArray[np.int64]) -> Grid:
    """Build the lookup: a table where tiles share their edges, bins where they lie at any offset or overlap."""
    counts = tuple(len(axis.labels) for axis in axes)
    shape = (*counts, *(int(edges[-1]) for edges in placed.edges))
    cells = tuple(len(edges) - 1 for edges in placed.edges)
    is_small = prod((*counts, *cells)) <= max(_FEW_CELLS, _CELLS_PER_TILE * len(shapes))
    if placed.origins is not None and not (placed.one_cell_each and is_small):
        return ScatteredGrid.build(shape, positions, placed.origins, shapes)
    table = np.full((*counts, *cells), -1, np.int32)
    numbers = np.arange(len(shapes), dtype=np.int32)
    if placed.origins is None:  # one cell a position
        table.reshape(-1)[positions] = numbers
    else:
        table[(*(axis.positions for axis in axes), *placed.first_cells.T)] = numbers
    return TileGrid(shape, placed.edges, table, placed.origins)


def _few(labels: NDArray[np.int64] | NDArray[np.float64]) -> str:
    """Return the first labels as text."""
    shown = ", ".join(f"{label:.6g}" for label in labels[:5])
    return shown + (", …" if len(labels) > 5 else "")  # noqa: PLR2004
