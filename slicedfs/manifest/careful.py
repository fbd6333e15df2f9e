"""The careful path: any tiles, one at a time, with the exact place of what is wrong."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.manifest.checks import ABSENT, Place, coordinate, index, member, shape, text_or_none
from slicedfs.manifest.columns import ABSENT_INDEX, Batch, Digests, Vocabulary
from slicedfs.model import Strings

__all__ = ["PIXEL_AXES", "TILE_KEYS", "note_pixel_axes", "read_batch", "read_digests"]

TILE_KEYS = frozenset(("coordinates", "indices", "file", "sha256", "tile_shape", "tile_format", "extras"))
"""The keys that the format defines for a tile (slicedimage 4.1.1, ``io/_keys.py``)."""
PIXEL_AXES = frozenset(("x", "y"))
"""Axes that lie inside a tile, so that an index along them means nothing."""

_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_NO_RANGE = (np.nan, np.nan)


def read_batch(objects: Sequence[object], first: int, vocabulary: Vocabulary, place: Place) -> Batch:
    """Return the columns of `objects`, the tiles number `first` and following of a document.

    Raises
    ------
    ManifestError
        For the first tile that breaks a rule.
    """
    rows = _Rows()
    for number, value in enumerate(objects, first):
        rows.add(value, number, vocabulary, place)
    return Batch(
        files=Strings.pack(rows.files),
        indices=_index_columns(rows.indices),
        coordinates=_coordinate_columns(rows.coordinates),
        shape_codes=np.array(rows.shape_codes, np.int32),
        format_codes=np.array(rows.format_codes, np.int32),
        sha256=read_digests(rows.sha256, first),
        extras=rows.extras,
        unknown=rows.unknown,
    )


def read_digests(texts: Sequence[object], first: int) -> Digests | None:
    """Return the digests of tiles, the first of which is number `first`; None where there are none, good or bad."""
    present = np.array([isinstance(text, str) and _SHA256.fullmatch(text) is not None for text in texts], np.bool_)
    malformed = tuple(first + i for i, text in enumerate(texts) if text is not None and not present[i])
    if not malformed and not present.any():
        return None
    digests = np.zeros((len(texts), 32), np.uint8)
    valid = "".join(str(text) for text, is_valid in zip(texts, present, strict=True) if is_valid)
    digests[present] = np.frombuffer(bytes.fromhex(valid), np.uint8).reshape(-1, 32)
    return Digests(digests, present, malformed)


def note_pixel_axes(place: Place) -> None:
    """Warn that tiles have x or y among their indices."""
    place.note("x and y", "x and y in `indices` are ignored: they lie inside the tiles.")


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the tiles say, one entry for each tile; the last two by the tile's number, where there is anything."""

    files: list[str] = field(default_factory=list)
    indices: list[dict[str, int]] = field(default_factory=list)
    coordinates: list[dict[str, tuple[float, float]]] = field(default_factory=list)
    shape_codes: list[int] = field(default_factory=list)
    format_codes: list[int] = field(default_factory=list)
    sha256: list[object] = field(default_factory=list)
    extras: dict[int, Any] = field(default_factory=dict)
    unknown: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, value: object, number: int, vocabulary: Vocabulary, place: Place) -> None:
        """Check one tile, and keep what it says."""
        pointer = f"tiles[{number}]"
        if not isinstance(value, dict):
            raise place.error(pointer, "must be an object", value)
        self.files.append(_file(value, pointer, place))
        self.indices.append(_labels(value, pointer, place))
        self.coordinates.append(_ranges(value, pointer, place))
        own_shape = shape(value.get("tile_shape"), f"{pointer}.tile_shape", place)
        own_format = text_or_none(value.get("tile_format"), f"{pointer}.tile_format", place)
        self.shape_codes.append(vocabulary.shape(own_shape))
        self.format_codes.append(vocabulary.format(own_format))
        self.sha256.append(value.get("sha256"))
        if value.get("extras") not in (None, {}):
            self.extras[number] = value["extras"]
        if not TILE_KEYS.issuperset(value):
            self.unknown[number] = {key: item for key, item in value.items() if key not in TILE_KEYS}


def _file(tile: Mapping[str, Any], pointer: str, place: Place) -> str:
    file = tile.get("file", ABSENT)
    if isinstance(file, str) and file:
        return file
    if file is ABSENT:
        raise place.error(f"{pointer}.file", "is missing: it must be a string (a reference to the tile's file)")
    raise place.error(f"{pointer}.file", "must be a string that is not empty", file)


def _object(tile: Mapping[str, Any], key: str, pointer: str, place: Place) -> dict[str, Any]:
    value = tile.get(key, ABSENT)
    if isinstance(value, dict):
        return value
    if value is ABSENT:
        raise place.error(f"{pointer}.{key}", "is missing: it must be an object")
    raise place.error(f"{pointer}.{key}", "must be an object", value)


def _labels(tile: Mapping[str, Any], pointer: str, place: Place) -> dict[str, int]:
    labels = _object(tile, "indices", pointer, place)
    if not PIXEL_AXES.isdisjoint(labels):
        note_pixel_axes(place)
        labels = {dim: label for dim, label in labels.items() if dim not in PIXEL_AXES}
    for dim, label in labels.items():
        if type(label) is not int or not 0 <= label < 2**31:  # the pointer costs more than the check
            index(label, member(f"{pointer}.indices", dim), place)
    return labels


def _ranges(tile: Mapping[str, Any], pointer: str, place: Place) -> dict[str, tuple[float, float]]:
    ranges = _object(tile, "coordinates", pointer, place)
    return {
        name: _plain_range(value) or coordinate(value, member(f"{pointer}.coordinates", name), place)
        for name, value in ranges.items()
    }


def _plain_range(value: object) -> tuple[float, float] | None:
    """Return the range where it is what writers write, so that no pointer need be made; else None."""
    if type(value) is not list or len(value) != len(_NO_RANGE):
        return None
    first, last = value
    is_plain = type(first) is float and type(last) is float and isfinite(first) and isfinite(last)
    return (first, last) if is_plain else None


def _index_columns(rows: Sequence[Mapping[str, int]]) -> dict[str, NDArray[np.int64]]:
    dims = dict.fromkeys(dim for row in rows for dim in row)
    return {dim: np.fromiter((row.get(dim, ABSENT_INDEX) for row in rows), np.int64, len(rows)) for dim in dims}


def _coordinate_columns(rows: Sequence[Mapping[str, tuple[float, float]]]) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, _NO_RANGE) for row in rows], np.float64) for name in names}
