"""Several tile set documents as one: stacked along a new dim, or side by side. Pure: columns in, columns out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError
from slicedfs.model import CollectionDocument, Part, Strings, Tiles, TileSetDocument
from slicedfs.url import redact

__all__ = ["merge", "refuse_unequal", "stack_taken", "unequal"]

T = TypeVar("T")
_RESERVED = frozenset(("x", "y", "s", "image", "has_tile"))
"""Names that the array needs itself."""
_SHOWN = 5


def merge(
    collection: CollectionDocument, members: Sequence[tuple[str, TileSetDocument]], stack: str | None
) -> TileSetDocument:
    """Put the tiles of all `members` (name, document) into one document, in order.

    Parameters
    ----------
    collection
        Where the members were found; its URL stands in messages, its extras become those of the whole.
    stack
        Name of a new index dim along which each member gets a position; None: none, the coordinates tell tiles apart.

    Returns
    -------
    TileSetDocument
        Whose ``parts`` say which tiles came from which document.

    Raises
    ------
    ManifestError
        If there are no members, or their index dims differ, or `stack` is one of them.
    """
    members = [(name, document) for name, document in members if len(document.tiles)]
    if not members:
        raise ManifestError(
            f"{redact(collection.url)}: has no tile set with tiles below it, so there is no array.",
            url=redact(collection.url),
        )
    _refuse_other_dims(members)
    if stack is not None:
        _refuse_stack(members, stack)
    documents = [document for _, document in members]
    starts = np.cumsum([0, *(len(document.tiles) for document in documents)])
    parts = tuple(
        Part(name, document.url, int(start)) for (name, document), start in zip(members, starts, strict=False)
    )
    dims = dict.fromkeys(dim for document in documents for dim in document.shape)
    counts = {dim: _joint_count(documents, dim) for dim in dims}
    shape = {stack: len(members), **counts} if stack else counts
    return TileSetDocument(
        url=collection.url,
        version=collection.version,
        dimensions=tuple(dict.fromkeys(dim for document in documents for dim in document.dimensions)),
        shape=shape,
        tiles=_tiles(documents, starts, stack),
        extras=_extras(collection, documents),
        unknown=collection.unknown,
        parts=parts,
        stack=stack,
    )


def _refuse_other_dims(members: Sequence[tuple[str, TileSetDocument]]) -> None:
    (first, model), *others = members
    for name, document in others:
        if set(document.tiles.indices) != set(model.tiles.indices):
            raise ManifestError(
                f"{redact(document.url)}: {name!r} has the index dims {_few(document)}, but {first!r} has "
                f"{_few(model)}; one array needs the same. Open them with xarray.open_datatree instead.",
                url=redact(document.url),
            )


def _refuse_stack(members: Sequence[tuple[str, TileSetDocument]], stack: str) -> None:
    """Raise where members cannot be stacked: the name is taken, or their index axes differ."""
    for name, document in members:
        taken = {*document.tiles.indices, *document.shape, *document.tiles.coordinates, *_RESERVED}
        if stack in taken or (stack == "zc" and "z" in document.tiles.coordinates):
            raise stack_taken(stack, Part(name, document.url, 0))
    (first, model), *others = members
    axes = {dim: _axis(model, dim) for dim in model.tiles.indices}
    odd = [(name, document) for name, document in others if {dim: _axis(document, dim) for dim in axes} != axes]
    if odd:
        name, document = odd[0]
        dim = next(dim for dim, labels in axes.items() if _axis(document, dim) != labels)
        more = f" ({len(odd)} of {len(members)} members differ from it)" if len(odd) > 1 else ""
        what = f"has the labels {_axis(document, dim)} along {dim}, but {first!r} has {axes[dim]}{more}"
        raise unequal(stack, Part(name, document.url, 0), what)


def stack_taken(stack: str, part: Part) -> ManifestError:
    """Return the error for a new dim whose name a member already uses."""
    return ManifestError(
        f"{redact(part.url)}: stack={stack!r} names a dim or coordinate that {part.name!r} already has. Choose another "
        "name.",
        url=redact(part.url),
        value=stack,
    )


def unequal(stack: str | None, part: Part, what: str) -> ManifestError:
    """Return the error for stacked members of unequal shape: `what` is the difference of `part` from the first."""
    return ManifestError(
        f"{redact(part.url)}: {part.name!r} {what}; stack={stack!r} needs members of equal shape. Place them by their "
        "coordinates with mosaic=True, or open them with xarray.open_datatree.",
        url=redact(part.url),
    )


def _axis(document: TileSetDocument, dim: str) -> str:
    """Describe the labels of an index axis: labels that all lie in range(count) stand for the whole range."""
    seen = np.unique(document.tiles.indices[dim])
    count = document.shape.get(dim, len(seen))
    return f"0 to {count - 1}" if seen[-1] < count else ", ".join(map(str, seen.tolist()))


def _joint_count(documents: list[TileSetDocument], dim: str) -> int:
    """Return what ``shape`` would count for all together."""
    counts = [document.shape.get(dim, 0) for document in documents]
    labels = [np.unique(document.tiles.indices[dim]) for document in documents]
    if any(len(own) > count for own, count in zip(labels, counts, strict=True)):
        return max(counts)  # placing warns of it
    return max(*counts, len(np.unique(np.concatenate(labels))))


def _extras(collection: CollectionDocument, documents: list[TileSetDocument]) -> Any:
    """Return the collection's extras, with the hints of slicedfs that all members share, as dtype and units."""
    own = collection.extras
    if (isinstance(own, Mapping) and "slicedfs" in own) or not isinstance(own, Mapping | None):
        return own
    hints = [of.extras.get("slicedfs") if isinstance(of.extras, Mapping) else None for of in documents]
    first = hints[0] if isinstance(hints[0], Mapping) else {}
    shared = {
        key: value
        for key, value in first.items()
        if all(isinstance(other, Mapping) and other.get(key) == value for other in hints)
    }
    return {**(own or {}), "slicedfs": shared} if shared else own


def refuse_unequal(document: TileSetDocument, shapes: NDArray[np.int64]) -> None:
    """Raise ManifestError where stacked members differ in the shapes of their tiles.

    Parameters
    ----------
    document
        What :func:`merge` gave, with ``stack``.
    shapes
        (n tiles, image axes) in pixels.
    """
    starts = [part.start for part in document.parts]
    stops = [*starts[1:], len(document.tiles)]
    of = [_distinct(shapes[start:stop]) for start, stop in zip(starts, stops, strict=True)]
    odd = [i for i, own in enumerate(of) if own != of[0]]
    if odd:
        part, first = document.parts[odd[0]], document.parts[0]
        more = f" ({len(odd)} of {len(of)} members differ from it)" if len(odd) > 1 else ""
        what = f"has tiles of shape {of[odd[0]]}, but {first.name!r} has {of[0]}{more}"
        raise unequal(document.stack, part, what)


def _distinct(shapes: NDArray[np.int64]) -> str:
    rows = sorted(map(tuple, np.unique(shapes, axis=0).tolist()))
    return ", ".join(map(str, rows[:_SHOWN])) + (", …" if len(rows) > _SHOWN else "")


def _few(document: TileSetDocument) -> str:
    return ", ".join(document.tiles.indices) or "none"


def _tiles(documents: list[TileSetDocument], starts: NDArray[np.int64], stack: str | None) -> Tiles:
    """Append the columns of all documents."""
    columns = [document.tiles for document in documents]
    indices = {
        dim: np.concatenate([tiles.indices[dim] for tiles in columns]).astype(np.int64) for dim in columns[0].indices
    }
    if stack:
        indices = {stack: np.repeat(np.arange(len(columns)), [len(tiles) for tiles in columns]), **indices}
    shapes, shape_codes = _coded(documents, TileSetDocument.tile_shape, lambda shape: tuple(sorted(shape.items())))
    formats, format_codes = _coded(documents, TileSetDocument.tile_format, str)
    sha256, has_sha256 = _digests(columns)
    return Tiles(
        files=_files(columns),
        indices=indices,
        coordinates=_coordinates(columns),
        shapes=shapes,
        shape_codes=shape_codes,
        formats=formats,
        format_codes=format_codes,
        sha256=sha256,
        has_sha256=has_sha256,
        extras=_shifted([tiles.extras for tiles in columns], starts),
        unknown=_shifted([tiles.unknown for tiles in columns], starts),
    )


def _files(columns: list[Tiles]) -> Strings:
    ends: list[NDArray[np.int64]] = []
    length = 0
    for tiles in columns:
        ends.append(tiles.files.ends + length)
        length += len(tiles.files.blob)
    return Strings(b"".join(tiles.files.blob for tiles in columns), np.concatenate(ends))


def _coordinates(columns: list[Tiles]) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(name for tiles in columns for name in tiles.coordinates)
    return {
        name: np.concatenate([tiles.coordinates.get(name, np.full((len(tiles), 2), np.nan)) for tiles in columns])
        for name in names
    }


def _coded(
    documents: list[TileSetDocument],
    of_tile: Callable[[TileSetDocument, int], T | None],
    key: Callable[[T], object],
) -> tuple[tuple[T, ...], NDArray[np.int32]]:
    """Return the distinct values that hold for the tiles, defaults included, and their numbers; -1 for none."""
    known: dict[object, int] = {}
    values: list[T] = []
    columns = []
    for document in documents:
        own = _codes(document, of_tile)
        numbers = np.full(int(own.max()) + 2, -1, np.int32)
        for code in np.unique(own).tolist():
            value = of_tile(document, int(np.flatnonzero(own == code)[0]))
            if value is not None and known.setdefault(key(value), len(values)) == len(values):
                values.append(value)
            numbers[code] = -1 if value is None else known[key(value)]
        columns.append(numbers[own])
    return tuple(values), np.concatenate(columns)


def _codes(document: TileSetDocument, of_tile: Callable[..., Any]) -> NDArray[np.int32]:
    tiles = document.tiles
    codes = tiles.shape_codes if of_tile is TileSetDocument.tile_shape else tiles.format_codes
    return np.full(len(tiles), -1, np.int32) if codes is None else codes


def _digests(columns: list[Tiles]) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]:
    if all(tiles.sha256 is None for tiles in columns):
        return None, None
    digests = [np.zeros((len(t), 32), np.uint8) if t.sha256 is None else t.sha256 for t in columns]
    have = [np.zeros(len(t), bool) if t.has_sha256 is None else t.has_sha256 for t in columns]
    return np.concatenate(digests), np.concatenate(have)


def _shifted(maps: list[Mapping[int, Any]], starts: NDArray[np.int64]) -> dict[int, Any]:
    return {int(start) + i: value for of, start in zip(maps, starts, strict=False) for i, value in of.items()}
