"""Model -> JSON bytes: the same bytes for the same model, in a form that slicedimage 4.1.1 reads."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from slicedfs.manifest.checks import Place, member
from slicedfs.model import CollectionDocument, Document, Tiles, TileSetDocument

__all__ = ["dump"]

_LIST_SHAPES, _NAMED_SHAPES = "0.0.0", "0.1.0"
_EXPERIMENT = "5.0.0"
_FIRST_DIMS, _LAST_DIMS = ("r", "c"), ("z", "y", "x")
_BATCH = 4096
"""Tiles that are objects at a time."""


def dump(document: Document, *, version: str | None = None, pretty: bool = False) -> bytes:
    """Write one document.

    Parameters
    ----------
    document
        What to write. ``parse`` of the result has equal columns, extras and unknown keys.
    version
        "0.0.0" (shapes as lists, (y, x) or (z, y, x)) or "0.1.0" (shapes by name). None: the document's own where it is
        one of these, else "0.1.0". An experiment is always written as "5.0.0", with ``images``.
    pretty
        Indent by two spaces; else there is no white space.

    Returns
    -------
    bytes
        JSON in UTF-8. ``dimensions`` are in a fixed order: r, c, other index dims in the order of ``shape``, z, y, x,
        then the rest by name.

    Raises
    ------
    ManifestError
        `version` is another one, or the document holds what JSON or the format cannot say: an infinite coordinate, a
        range with one end, a negative index, ``extras`` that are not JSON.
    """
    place = Place(document.url)
    chosen = _version(document, version, place)
    if isinstance(document, CollectionDocument):
        head = _collection(document, chosen)
        return _encode(head, pretty=pretty, place=place)
    _check(document.tiles, place)
    head = _tile_set(document, chosen)
    tiles = _tiles(document.tiles, has_lists=chosen == _LIST_SHAPES)
    return _with_tiles(head, tiles, pretty=pretty, place=place)


def _version(document: Document, version: str | None, place: Place) -> str:
    if isinstance(document, CollectionDocument) and document.kind == "experiment":
        readable: tuple[str, ...] = (_EXPERIMENT,)
    else:
        readable = (_NAMED_SHAPES, _LIST_SHAPES)
    chosen = version or (document.version if document.version in readable else readable[0])
    if chosen not in readable:
        wrong = f"cannot be written as version {chosen!r}; {' and '.join(readable)} can"
        raise place.error("", wrong, advice="Pass one of these as `version`.")
    return chosen


def _collection(document: CollectionDocument, version: str) -> dict[str, Any]:
    fields: dict[str, Any] = {"version": version}
    if document.kind == "experiment":
        fields["images"] = dict(document.contents)
        if document.codebook is not None:
            fields["codebook"] = document.codebook
    else:
        fields["contents"] = dict(document.contents)
    return fields | {"extras": document.extras} | _unknown(document, fields)


def _tile_set(document: TileSetDocument, version: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "version": version,
        "dimensions": _dimensions(document),
        "shape": dict(document.shape),
    }
    if document.default_tile_shape is not None:
        fields["default_tile_shape"] = _shape(document.default_tile_shape, has_lists=version == _LIST_SHAPES)
    if document.default_tile_format is not None:
        fields["default_tile_format"] = document.default_tile_format
    return fields | {"extras": document.extras} | _unknown(document, fields)


def _unknown(document: Document, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.unknown.items() if key not in (*fields, "extras", "tiles")}


def _dimensions(document: TileSetDocument) -> list[str]:
    """Return the dims in a fixed order (slicedimage writes a frozenset's, which changes from run to run)."""
    known = [*_FIRST_DIMS, *(dim for dim in document.shape if dim not in _LAST_DIMS), *_LAST_DIMS]
    ranks = {dim: rank for rank, dim in reversed(list(enumerate(known)))}
    return sorted(document.dimensions, key=lambda dim: (ranks.get(dim, len(known)), dim))


def _shape(shape: Mapping[str, int], *, has_lists: bool) -> Any:
    return [shape[axis] for axis in _LAST_DIMS if axis in shape] if has_lists else dict(shape)


def _check(tiles: Tiles, place: Place) -> None:
    """Refuse columns that the format cannot say."""
    for name, column in tiles.coordinates.items():
        absent = np.isnan(column)
        wrong = np.isinf(column).any(axis=1) | (absent[:, 0] != absent[:, 1])
        if wrong.any():
            first = int(wrong.argmax())
            pointer = member(f"tiles[{first}].coordinates", name)
            raise place.error(pointer, "must be a pair of finite numbers, or absent", column[first].tolist())
    for dim, labels in tiles.indices.items():
        if labels.min(initial=0) < 0:
            first = int((labels < 0).argmax())
            pointer = member(f"tiles[{first}].indices", dim)
            raise place.error(pointer, "must be an integer >= 0", int(labels[first]))


def _tiles(tiles: Tiles, *, has_lists: bool) -> Iterator[list[dict[str, Any]]]:
    """Yield the tiles as objects, in batches."""
    shapes = [_shape(shape, has_lists=has_lists) for shape in tiles.shapes]
    for start in range(0, len(tiles), _BATCH):
        rows = slice(start, min(start + _BATCH, len(tiles)))
        yield list(_objects(tiles, rows, shapes))


def _objects(tiles: Tiles, rows: slice, shapes: Sequence[Any]) -> Iterator[dict[str, Any]]:
    ranges = {name: column[rows].tolist() for name, column in tiles.coordinates.items()}
    labels = {dim: column[rows].tolist() for dim, column in tiles.indices.items()}
    for row, i in enumerate(range(rows.start, rows.stop)):
        # A range that is not stated is NaN, the one value that differs from itself.
        coordinates = {name: column[row] for name, column in ranges.items() if column[row][0] == column[row][0]}
        tile: dict[str, Any] = {
            "coordinates": coordinates,
            "indices": {dim: column[row] for dim, column in labels.items()},
            "file": tiles.files[i],
        }
        tile |= _optional(tiles, i, shapes)
        yield tile


def _optional(tiles: Tiles, i: int, shapes: Sequence[Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    digest, tile_format = tiles.digest(i), tiles.format(i)
    if digest is not None:
        fields["sha256"] = digest.hex()
    if tiles.shape_codes is not None and tiles.shape_codes[i] >= 0:
        fields["tile_shape"] = shapes[tiles.shape_codes[i]]
    if tile_format is not None:
        fields["tile_format"] = tile_format
    if i in tiles.extras:
        fields["extras"] = tiles.extras[i]
    return fields | dict(tiles.unknown.get(i, {}))


def _with_tiles(head: dict[str, Any], batches: Iterator[list[dict[str, Any]]], *, pretty: bool, place: Place) -> bytes:
    """Return the document; the tiles come last, and never are objects all at once."""
    first_line, last_line = (b',\n  "tiles": [', b"\n  ]\n}\n") if pretty else (b',"tiles":[', b"]}")
    parts = [_encode(head, pretty=pretty, place=place).rstrip()[:-1].rstrip(), first_line]
    for number, batch in enumerate(batches):
        # Without its brackets. No text in JSON holds a line break, so lines can be indented.
        text = _encode(batch, pretty=pretty, place=place).rstrip()[1:-1].rstrip().replace(b"\n", b"\n  ")
        parts += [b"," if number else b"", text]
    return b"".join([*parts, last_line])


def _encode(value: object, *, pretty: bool, place: Place) -> bytes:
    layout: dict[str, Any] = {"indent": 2} if pretty else {"separators": (",", ":")}
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, **layout)
    except (TypeError, ValueError, RecursionError) as error:
        raise place.error("", f"holds extras or other values that are not JSON ({error})") from error
    # A lone surrogate has no UTF-8, but an escape, which is what "backslashreplace" writes.
    return text.encode("utf-8", "backslashreplace") + (b"\n" if pretty else b"")
