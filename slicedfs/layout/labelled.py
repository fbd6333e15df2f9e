"""The coordinates of an array: labels, physical coordinates, has_tile. numpy in, plain values out; no xarray."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.layout.coords import PixelCoords, pixel_centers, rounded_midpoints
from slicedfs.layout.mosaic import coordinate_name
from slicedfs.layout.placement import Axis, Placement
from slicedfs.model import TileSetDocument

__all__ = ["Coordinate", "coordinates"]


@dataclass(frozen=True, slots=True, eq=False)
class Coordinate:
    """One coordinate of an array."""

    name: str
    """As the document calls it."""
    dims: tuple[str, ...]
    """Dims of the array that it varies along."""
    values: NDArray[Any]
    """One value a position of `dims`."""
    indexed: bool = False
    """True where ``.sel`` shall find its values through an index."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """units and axis, where known."""


def coordinates(document: TileSetDocument, placement: Placement, pixel_coords: PixelCoords) -> list[Coordinate]:
    """Return the coordinates of the array: of every dim first, in the order of the dims, then the others.

    Coordinates keep the document's names. Where all tiles agree they are 1-D along their axis; where they disagree,
    ``<name>_min`` and ``<name>_max`` over the index dims. z gets the midpoint of its range.
    """
    units = _units(document)
    used = {"z", "zc"} if _z_is_axis(document, placement) else set()
    first = [
        Coordinate(axis.dim, (axis.dim,), _labels(document, axis), indexed=True, attrs=_z_attrs(units, axis, used))
        for axis in placement.axes
    ]
    rest: list[Coordinate] = []
    for axis, dim in enumerate(placement.image_dims):
        name = coordinate_name(document, dim)
        along = [] if name is None else list(_along_image_axis(document, placement, axis, name, pixel_coords, units))
        used.add(name or dim)
        first.append(next((c for c in along if c.name == dim), _pixels(placement, axis)))
        rest += [c for c in along if c.name != dim]
    for name in document.tiles.coordinates:
        if name not in used:
            rest += _along_index_axes(document, placement, name, units)
    return [*first, *rest, *_has_tile(placement)]


def _labels(document: TileSetDocument, axis: Axis) -> NDArray[Any]:
    """Return the labels of an index axis; of a stack, the names of the members."""
    return np.array([part.name for part in document.parts]) if axis.dim == document.stack else axis.labels


def _units(document: TileSetDocument) -> Mapping[str, str]:
    """Return coordinate name -> unit, as ``extras.slicedfs.units`` states."""
    hints = document.extras.get("slicedfs") if isinstance(document.extras, Mapping) else None
    units = hints.get("units") if isinstance(hints, Mapping) else None
    return units if isinstance(units, Mapping) else {}


def _z_is_axis(document: TileSetDocument, placement: Placement) -> bool:
    """Tell whether the z axis was made from the coordinates."""
    return "z" not in document.tiles.indices and any(axis.dim == "z" for axis in placement.axes)


def _z_attrs(units: Mapping[str, str], axis: Axis, used: set[str]) -> Mapping[str, str]:
    """Return what is known of a z axis that was made from the coordinates."""
    if axis.dim not in used:
        return {}
    unit = next((units[name] for name in ("z", "zc") if name in units), None)
    return {"axis": "Z"} if unit is None else {"axis": "Z", "units": unit}


def _pixels(placement: Placement, axis: int) -> Coordinate:
    """Return pixel numbers along an image axis."""
    dim = placement.image_dims[axis]
    return Coordinate(dim, (dim,), np.arange(placement.grid.shape[placement.grid.index_ndim + axis]), indexed=True)


def _along_image_axis(
    document: TileSetDocument,
    placement: Placement,
    axis: int,
    name: str,
    pixel_coords: PixelCoords,
    units: Mapping[str, str],
) -> Iterator[Coordinate]:
    dim = placement.image_dims[axis]
    size = placement.grid.shape[placement.grid.index_ndim + axis]
    whole = placement.lattice.ranges[axis] if placement.lattice.is_mosaic else _agreed(document, name, size)
    attrs = {"axis": dim.upper(), **({"units": units[name]} if name in units else {})}
    if whole is None:
        yield from _extremes(document, placement, name, attrs)
    elif whole[0] != whole[1] or size == 1:
        yield Coordinate(name, (dim,), pixel_centers(*whole, size, pixel_coords), indexed=True, attrs=attrs)
    elif name == dim:  # a point, not a range: as labels it would be one value many times
        yield Coordinate(f"{name}_min", (), np.asarray(whole[0]), attrs=attrs)
        yield Coordinate(f"{name}_max", (), np.asarray(whole[1]), attrs=attrs)
    else:
        yield Coordinate(name, (dim,), np.full(size, whole[0]), attrs=attrs)


def _agreed(document: TileSetDocument, name: str, size: int) -> tuple[float, float] | None:
    """Return the range that all tiles state, to 1e-6 pixel; None where they disagree or some state none."""
    ranges = document.tiles.coordinates[name]
    start, stop = (float(v) for v in ranges[0])
    tolerance = abs(stop - start) / size * 1e-6
    return (start, stop) if (np.abs(ranges - ranges[0]) <= tolerance).all() else None


def _extremes(
    document: TileSetDocument, placement: Placement, name: str, attrs: Mapping[str, Any], shown: str | None = None
) -> Iterator[Coordinate]:
    """Return the ends of each tile's range as ``shown_min`` and ``shown_max``; NaN where there is no tile."""
    ranges = document.tiles.coordinates[name]
    dims = tuple(axis.dim for axis in placement.axes)
    where = tuple(axis.positions for axis in placement.axes)
    for reduce, suffix in ((np.fmin, "min"), (np.fmax, "max")):
        values = np.full(tuple(len(axis.labels) for axis in placement.axes), np.nan)
        reduce.at(values, where, reduce(ranges[:, 0], ranges[:, 1]))
        yield Coordinate(f"{shown or name}_{suffix}", dims, values, attrs=attrs)


def _along_index_axes(
    document: TileSetDocument, placement: Placement, name: str, units: Mapping[str, str]
) -> Iterator[Coordinate]:
    """Return a coordinate that does not run along an image axis: z of planes as ``zc(z)``, others by tile."""
    attrs = {"units": units[name]} if name in units else {}
    z = next((axis for axis in placement.axes if axis.dim == "z"), None)
    if name != coordinate_name(document, "z") or z is None:
        yield from _extremes(document, placement, name, attrs)
        return
    values = _agreed_midpoints(document.tiles.coordinates[name], z)
    if values is None:
        yield from _extremes(document, placement, name, attrs, shown="zc")
    else:
        yield Coordinate("zc", ("z",), values, attrs={"axis": "Z", **attrs})


def _agreed_midpoints(ranges: NDArray[np.float64], z: Axis) -> NDArray[np.float64] | None:
    """Return the z of each plane, NaN where no tile states it; None where tiles of one plane disagree."""
    middle = rounded_midpoints(ranges.mean(axis=1))
    low = np.full(len(z.labels), np.nan)
    high = low.copy()
    np.fmin.at(low, z.positions, middle)
    np.fmax.at(high, z.positions, middle)
    return low if np.array_equal(low, high, equal_nan=True) else None


def _has_tile(placement: Placement) -> Iterator[Coordinate]:
    """Return which positions have a tile, where some have none."""
    present = placement.has_tile
    if placement.axes and not present.all():
        yield Coordinate("has_tile", tuple(axis.dim for axis in placement.axes), present)
