"""Several tile set documents as one: stacked along a new dim, or side by side. Pure: columns in, columns out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError
from slicedfs.model import CollectionDocument, Part, Strings, Tiles, TileSetDocument
from slicedfs.url import redact

__all__ = ["merge", "refuse_unequal"]

T = TypeVar("T")


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
    _refuse_other_dims(members, stack)
    documents = [document for _, document in members]
    starts = np.cumsum([0, *(len(document.tiles) for document in documents)])
    parts = tuple(
        Part(name, document.url, int(start)) for (name, document), start in zip(members, starts, strict=False)
    )
    dims = dict.fromkeys(dim for document in documents for dim in document.shape)
    counts = {dim: max(document.shape.get(dim, 0) for document in documents) for dim in dims}
    shape = {stack: len(members), **counts} if stack else counts
    return TileSetDocument(
        url=collection.url,
        version=collection.version,
        dimensions=tuple(dict.fromkeys(dim for document in documents for dim in document.dimensions)),
        shape=shape,
        tiles=_tiles(documents, starts, stack),
        extras=collection.extras,
        unknown=collection.unknown,
        parts=parts,
        stack=stack,
    )


def _refuse_other_dims(members: Sequence[tuple[str, TileSetDocument]], stack: str | None) -> None:
    (first, model), *others = members
    for name, document in others:
        if set(document.tiles.indices) != set(model.tiles.indices):
            raise ManifestError(
                f"{redact(document.url)}: {name!r} has the index dims {_few(document)}, but {first!r} has "
                f"{_few(model)}; one array needs the same. Open them with xarray.open_datatree instead.",
                url=redact(document.url),
            )
    if stack in model.tiles.indices or stack in ("x", "y", "s"):
        raise ManifestError(
            f"{redact(model.url)}: stack={stack!r} names a dim that {first!r} already has. Choose another name.",
            url=redact(model.url),
            value=stack,
        )


def refuse_unequal(document: TileSetDocument, shapes: NDArray[np.int64]) -> None:
    """Raise ManifestError where stacked members differ in the shape of their tiles, or in their labels.

    Parameters
    ----------
    document
        What :func:`merge` gave, with ``stack``.
    shapes
        (n tiles, image axes) in pixels.
    """
    starts = [part.start for part in document.parts]
    stops = [*starts[1:], len(document.tiles)]
    first = _described(document, shapes, starts[0], stops[0])
    for part, start, stop in zip(document.parts[1:], starts[1:], stops[1:], strict=True):
        own = _described(document, shapes, start, stop)
        for what, mine, model in zip(("tiles of shape", *document.shape), own, first, strict=False):
            if mine != model:
                raise ManifestError(
                    f"{redact(part.url)}: {part.name!r} has {what} {mine}, but {document.parts[0].name!r} has {model}; "
                    f"stack={document.stack!r} needs members of equal shape. Place them by their coordinates with "
                    "mosaic=True, or open them with xarray.open_datatree.",
                    url=redact(part.url),
                )


def _described(document: TileSetDocument, shapes: NDArray[np.int64], start: int, stop: int) -> list[str]:
    """Return what stacked members must share: the shape of tiles, and the labels along each dim of ``shape``.

    Labels that all lie in range(count) stand for the whole range, so that single tiles may be missing.
    """
    described = [", ".join(map(str, sorted({tuple(row) for row in shapes[start:stop].tolist()})))]
    for dim, count in document.shape.items():
        seen = np.unique(document.tiles.indices[dim][start:stop])
        whole = dim == document.stack or bool(seen[-1] < count)
        described.append(f"0 to {count - 1}" if whole else ", ".join(map(str, seen.tolist())))
    return described


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
