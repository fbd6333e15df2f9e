"""The fast path: tiles that have the keys of the first one, with values of the same types.

The structs are made for the document at hand. Any deviation (a key more or less, another type, a value that breaks a
rule) gives the batch up, and the careful path reads it, or says what is wrong.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from slicedfs.manifest.careful import PIXEL_AXES, TILE_KEYS, note_pixel_axes, read_digests
from slicedfs.manifest.checks import Place, shape
from slicedfs.manifest.columns import Batch, Digests, Vocabulary
from slicedfs.manifest.text import load_part
from slicedfs.model import Strings

__all__ = ["Layout", "learn", "read_batch"]

_HEAD_BYTES = 1 << 16
"""Bytes of the array among which the first tile is looked for."""
_ABSENT = msgspec.Raw()
"""The default of the fields that hold any JSON: one object, so that it is told by identity."""
_EMPTY = msgspec.Raw(b"{}")
"""The extras that slicedimage gives every tile: not worth a parser each."""
_HEX_DIGITS = 64
_LONG_MAP = 16
"""Keys from which on MessagePack has a longer header for a map."""
_LIST_HEADERS = (1, 3, 5)
"""Bytes that MessagePack puts before the values of a list, by its length."""
_MOST_KEYS = 64
"""Keys of a tile beyond which it is not worth a struct."""


class _Pair(msgspec.Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    """A range. Unlike a tuple, it is no work for the garbage collector, of which a million pairs are much."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Layout:
    """What the tiles of one document look like, and how to read them."""

    decoder: msgspec.json.Decoder[list[Any]]
    dims: Mapping[str, str]
    """Attribute of the struct of indices -> dim."""
    names: Mapping[str, str]
    """Attribute of the struct of coordinates -> name."""
    record: np.dtype[np.void]
    """Where the numbers lie when the coordinates of one tile are written as MessagePack."""
    unknown: Mapping[str, str]
    """Attribute of a tile -> key that the format does not define."""


def learn(array: memoryview) -> Layout | None:
    """Return the layout of the first tile in the JSON text of a list; None where it has none that can be typed."""
    head = bytes(array[1:_HEAD_BYTES]).decode("utf-8", "replace").lstrip()
    try:
        tile, _ = json.JSONDecoder().raw_decode(head)
        keys = _keys(tile)
        return None if keys is None else _layout(keys)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None  # not a tile: the careful path says what is wrong with it


def _keys(tile: Mapping[str, Any]) -> "_Keys | None":
    """Return what makes one layout differ from another."""
    indices, coordinates = tile["indices"], tile["coordinates"]
    keys = _Keys(
        dims=tuple(indices.keys()),
        names=tuple(coordinates.keys()),
        scalars=tuple(not isinstance(value, list) for value in coordinates.values()),
        unknown=tuple(key for key in tile if key not in TILE_KEYS),
    )
    return keys if sum(map(len, keys)) <= _MOST_KEYS else None


class _Keys(NamedTuple):
    dims: tuple[str, ...]
    names: tuple[str, ...]
    scalars: tuple[bool, ...]
    unknown: tuple[str, ...]


@lru_cache(maxsize=32)  # the tile sets of a collection look alike, and to make the structs costs a millisecond
def _layout(keys: _Keys) -> Layout:
    dims = {f"i{i}": dim for i, dim in enumerate(keys.dims)}
    names = {f"c{i}": name for i, name in enumerate(keys.names)}
    unknown = {f"u{i}": key for i, key in enumerate(keys.unknown)}
    scalars = frozenset(field for field, is_scalar in zip(names, keys.scalars, strict=True) if is_scalar)
    types = {field: float if field in scalars else _Pair for field in names}
    fields: list[Any] = [
        ("coordinates", _struct([(field, types[field]) for field in names], names)),
        ("indices", _struct([(field, int) for field in dims], dims)),
        ("file", str),
        ("sha256", str | None, None),
        ("tile_shape", msgspec.Raw, _ABSENT),
        ("tile_format", str | None, None),
        ("extras", msgspec.Raw, _ABSENT),
        *((field, msgspec.Raw, _ABSENT) for field in unknown),
    ]
    decoder = msgspec.json.Decoder(list[_struct(fields, unknown)])  # type: ignore[misc]
    return Layout(decoder, dims, names, _record(names, scalars), unknown)


def _record(names: Mapping[str, str], scalars: frozenset[str]) -> np.dtype[np.void]:
    """Return where MessagePack puts the numbers of a struct of floats and pairs of floats.

    To write all tiles' coordinates as MessagePack and look at that is ten times faster than to ask each for its values.
    A map is one byte (three, from 16 keys on) before its keys and values, a pair is one byte before its values, and a
    float one byte before its 8 bytes, big-endian (MessagePack specification, "Formats").
    """
    offsets = {}
    offset = 1 if len(names) < _LONG_MAP else 3
    for field, name in names.items():
        offset += len(msgspec.msgpack.encode(name))
        if field in scalars:
            offsets[f"{field}.first"] = offsets[f"{field}.last"] = offset + 1
            offset += 9
        else:
            offsets[f"{field}.first"], offsets[f"{field}.last"] = offset + 2, offset + 11
            offset += 19
    formats = [">f8"] * len(offsets)
    return np.dtype({"names": [*offsets], "formats": formats, "offsets": [*offsets.values()], "itemsize": offset})


def _struct(fields: list[Any], names: Mapping[str, str]) -> Any:
    return msgspec.defstruct("Part", fields, rename=dict(names), gc=False, forbid_unknown_fields=True)


def read_batch(part: bytes, layout: Layout, first: int, vocabulary: Vocabulary, place: Place) -> Batch | None:
    """Return the columns of a JSON list of tiles, which start at tile number `first`; None to give it up."""
    try:
        tiles = layout.decoder.decode(part)
        return _columns(tiles, layout, first, vocabulary, place)
    except (ValueError, OverflowError, RecursionError):  # msgspec's errors and ManifestError are ValueErrors
        return None


def _columns(tiles: Sequence[Any], layout: Layout, first: int, vocabulary: Vocabulary, place: Place) -> Batch:
    indices = _indices([tile.indices for tile in tiles], layout)
    coordinates = _coordinates([tile.coordinates for tile in tiles], layout)
    files = _files([tile.file for tile in tiles])
    sha256 = _digests([tile.sha256 for tile in tiles], first)
    extras = {first + i: value for i, value in _extras([tile.extras for tile in tiles]) if value not in (None, {})}
    unknown: dict[int, dict[str, Any]] = {}
    for field, key in layout.unknown.items():
        for i, value in _values([getattr(tile, field) for tile in tiles]):
            unknown.setdefault(first + i, {})[key] = value
    shapes = _texts([tile.tile_shape for tile in tiles])
    shape_of = {raw: shape(load_part(raw), "", place) if raw else None for raw in dict.fromkeys(shapes)}
    # Nothing gives the batch up from here on: the vocabulary and the notes are the document's.
    if not PIXEL_AXES.isdisjoint(layout.dims.values()) and tiles:
        note_pixel_axes(place)
    shape_codes = {raw: vocabulary.shape(value) for raw, value in shape_of.items()}
    return Batch(
        files=files,
        indices=indices,
        coordinates=coordinates,
        shape_codes=_codes(shapes, shape_codes),
        format_codes=_formats([tile.tile_format for tile in tiles], vocabulary),
        sha256=sha256,
        extras=extras,
        unknown=dict(unknown),
    )


def _indices(rows: Sequence[Any], layout: Layout) -> dict[str, NDArray[np.int64]]:
    columns = {
        dim: np.fromiter(map(attrgetter(field), rows), np.int64, len(rows))
        for field, dim in layout.dims.items()
        if dim not in PIXEL_AXES
    }
    if any(column.min(initial=0) < 0 for column in columns.values()):
        raise ValueError("a negative index")
    return columns


def _coordinates(rows: Sequence[Any], layout: Layout) -> dict[str, NDArray[np.float64]]:
    packed = msgspec.msgpack.encode(rows)
    header = len(packed) - len(rows) * layout.record.itemsize
    if header not in _LIST_HEADERS:
        raise ValueError("MessagePack of another width")
    values = np.frombuffer(packed, layout.record, len(rows), header)
    columns = {}
    for field, name in layout.names.items():
        columns[name] = np.stack([values[f"{field}.first"], values[f"{field}.last"]], axis=1, dtype=np.float64)
        if not np.isfinite(columns[name]).all():
            raise ValueError("an infinite coordinate")
    return columns


def _files(files: Sequence[str]) -> Strings:
    if not all(files):
        raise ValueError("an empty reference")
    blob = "".join(files)
    if not blob.isascii():
        return Strings.pack(files)
    return Strings(blob.encode(), np.cumsum(np.fromiter(map(len, files), np.int64, len(files))))


def _digests(texts: Sequence[str | None], first: int) -> Digests | None:
    """Return the digests; at once where all tiles have a good one, as writers give them."""
    stated = [text for text in texts if text is not None]
    if len(stated) == len(texts) and set(map(len, stated)) == {_HEX_DIGITS}:
        with suppress(ValueError):  # what is no digit; spaces are skipped, so that there are too few bytes then
            digests = np.frombuffer(bytes.fromhex("".join(stated)), np.uint8).reshape(len(texts), _HEX_DIGITS // 2)
            return Digests(digests, np.ones(len(texts), np.bool_))
    return read_digests(texts, first)


def _values(raws: Sequence[msgspec.Raw]) -> Iterator[tuple[int, Any]]:
    """Yield position and value of a field of any JSON, where tiles have it."""
    if raws.count(_ABSENT) == len(raws):
        return
    for i, raw in enumerate(raws):
        if raw is not _ABSENT:
            yield i, load_part(raw)


def _extras(raws: Sequence[msgspec.Raw]) -> Iterator[tuple[int, Any]]:
    """Yield position and value of ``extras``, where they are there and not plainly empty."""
    if raws.count(_EMPTY) != len(raws):
        yield from _values([_ABSENT if raw == _EMPTY else raw for raw in raws])


def _texts(raws: Sequence[msgspec.Raw]) -> list[bytes]:
    """Return the texts of JSON values. To join and split costs half of copying each; no JSON holds a zero byte."""
    if raws and raws.count(raws[0]) == len(raws):
        return [bytes(raws[0])] * len(raws)
    return b"\0".join(raws).split(b"\0") if raws else []


def _formats(formats: Sequence[str | None], vocabulary: Vocabulary) -> NDArray[np.int32]:
    distinct = formats[:1] if formats.count(formats[0]) == len(formats) else dict.fromkeys(formats)
    return _codes(formats, {text: vocabulary.format(text) for text in distinct})


def _codes(values: Sequence[Any], codes: Mapping[Any, int]) -> NDArray[np.int32]:
    if len(codes) == 1:
        return np.full(len(values), next(iter(codes.values())), np.int32)
    return np.fromiter(map(codes.__getitem__, values), np.int32, len(values))
