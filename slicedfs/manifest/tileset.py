"""A tile set's own fields; its tiles are read by :mod:`slicedfs.manifest.tiles`."""

from collections.abc import Callable, Mapping
from typing import Any

from slicedfs.manifest.checks import ABSENT, Place, index, member, shape, text_or_none
from slicedfs.manifest.kinds import Kind, version_of
from slicedfs.manifest.tiles import read_tiles
from slicedfs.model import Tiles, TileSetDocument

__all__ = ["read_tile_set"]

_KEYS = frozenset(("version", "dimensions", "shape", "tiles", "default_tile_shape", "default_tile_format", "extras"))


def read_tile_set(
    document: Mapping[str, Any],
    place: Place,
    read: Callable[[object, Mapping[str, int], Place], Tiles] = read_tiles,
) -> TileSetDocument:
    """Read a document with ``tiles``, split up or not; `read` reads those."""
    version = version_of(document, Kind.TILE_SET, place)
    counts = _counts(document.get("shape", ABSENT), place)
    dimensions = _dimensions(document.get("dimensions", ABSENT), counts, place)
    default_shape = shape(document.get("default_tile_shape"), "default_tile_shape", place)
    default_format = text_or_none(document.get("default_tile_format"), "default_tile_format", place)
    tiles = read(document["tiles"], counts, place)
    return TileSetDocument(
        url=place.url,
        version=version,
        dimensions=dimensions,
        shape=counts,
        tiles=tiles,
        default_tile_shape=default_shape,
        default_tile_format=default_format,
        extras=document.get("extras"),
        unknown={key: value for key, value in document.items() if key not in _KEYS},
    )


def _counts(value: object, place: Place) -> dict[str, int]:
    """Return ``shape`` without x and y. It may not be missing: a label beyond its count could not be told."""
    if value is ABSENT:
        raise place.error("shape", 'is missing: it must be an object such as {"r": 4, "c": 3}')
    if not isinstance(value, dict):
        raise place.error("shape", 'must be an object such as {"r": 4, "c": 3}', value)
    if "x" in value or "y" in value:
        place.note("x and y", "x and y in `shape` are ignored: they lie inside the tiles.")
    return {dim: index(count, member("shape", dim), place) for dim, count in value.items() if dim not in ("x", "y")}


def _dimensions(value: object, counts: Mapping[str, int], place: Place) -> tuple[str, ...]:
    """Return ``dimensions``. Nothing depends on it, so a document without it is read, with a warning."""
    if value is ABSENT:
        place.note("dimensions", "`dimensions` is missing; they are taken from `shape`, with y and x.")
        return (*counts, "y", "x")
    if not isinstance(value, list):
        raise place.error("dimensions", "must be a list of strings", value)
    for position, dim in enumerate(value):
        if not isinstance(dim, str):
            raise place.error(f"dimensions[{position}]", "must be a string", dim)
    return tuple(value)
