"""Batches of tiles -> the columns of the model."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from slicedfs.manifest.checks import Place, member
from slicedfs.model import Strings, Tiles

__all__ = ["ABSENT_INDEX", "Batch", "Digests", "Vocabulary", "assemble"]

ABSENT_INDEX = -1
"""Stands in a column of labels for "the tile does not state it"."""

V = TypeVar("V")
T = TypeVar("T", bound=np.generic)


@dataclass(slots=True)
class Vocabulary:
    """The distinct shapes and formats of a document's tiles, numbered as they appear."""

    shapes: dict[Hashable, tuple[int, Mapping[str, int]]] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)

    def shape(self, value: Mapping[str, int] | None) -> int:
        """Return the code of a shape; -1 for None. The order of its axes carries no meaning."""
        if value is None:
            return -1
        return self.shapes.setdefault(frozenset(value.items()), (len(self.shapes), value))[0]

    def format(self, value: str | None) -> int:
        """Return the code of a format; -1 for None and for the empty text."""
        return self.formats.setdefault(value, len(self.formats)) if value else -1


@dataclass(frozen=True, slots=True)
class Digests:
    """The sha256 of n tiles."""

    digests: NDArray[np.uint8]
    """(n, 32), zero where there is none."""
    present: NDArray[np.bool_]
    """(n,)"""
    malformed: tuple[int, ...] = ()
    """Tiles (counted from the document's first) whose sha256 is not 64 hex digits."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The columns of n tiles that follow each other in a document, before the batches are put together."""

    files: Strings
    indices: dict[str, NDArray[np.int64]]
    """dim -> (n,) labels; ABSENT_INDEX where a tile does not state it."""
    coordinates: dict[str, NDArray[np.float64]]
    """name -> (n, 2) ranges; NaN where a tile does not state it."""
    shape_codes: NDArray[np.int32]
    format_codes: NDArray[np.int32]
    sha256: Digests | None
    """None where no tile has one and none is malformed."""
    extras: dict[int, Any]
    """Keys count from the document's first tile."""
    unknown: dict[int, Mapping[str, Any]]
    """Keys count from the document's first tile."""

    def __len__(self) -> int:
        return len(self.files)


def assemble(batches: Sequence[Batch], counts: Mapping[str, int], vocabulary: Vocabulary, place: Place) -> Tiles:
    """Put batches together; each batch's columns are released as they are copied.

    `counts` is the document's ``shape``.
    """
    digests, present = _digests(batches, place)
    has_shapes, has_formats = bool(vocabulary.shapes), bool(vocabulary.formats)
    return Tiles(
        files=_join(batches),
        indices=_indices(batches, counts, place),
        coordinates=_coordinates(batches),
        shapes=tuple(shape for _, shape in vocabulary.shapes.values()),
        shape_codes=_concatenate([batch.shape_codes for batch in batches]) if has_shapes else None,
        formats=tuple(vocabulary.formats),
        format_codes=_concatenate([batch.format_codes for batch in batches]) if has_formats else None,
        sha256=digests,
        has_sha256=present,
        extras=_merge(batches, lambda batch: batch.extras),
        unknown=_merge(batches, lambda batch: batch.unknown),
    )


def _merge(batches: Sequence[Batch], get: Callable[[Batch], dict[int, V]]) -> dict[int, V]:
    merged: dict[int, V] = {}
    for batch in batches:
        merged.update(get(batch))
    return merged


def _concatenate(parts: list[NDArray[T]]) -> NDArray[T]:
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def _join(batches: Sequence[Batch]) -> Strings:
    if len(batches) == 1:
        return batches[0].files
    starts = np.cumsum([0, *(len(batch.files.blob) for batch in batches)])
    ends = [batch.files.ends + start for batch, start in zip(batches, starts[:-1], strict=True)]
    return Strings(b"".join([batch.files.blob for batch in batches]), np.concatenate([np.empty(0, np.int64), *ends]))


def _gather(batches: Sequence[Batch], columns: list[NDArray[T] | None], absent: NDArray[T]) -> NDArray[T]:
    """Return one column, with `absent` in the rows of batches that lack it."""
    total = sum(map(len, batches))
    gathered = np.empty((total, *absent.shape), absent.dtype)
    row = 0
    for position, batch in enumerate(batches):
        part = columns[position]
        gathered[row : row + len(batch)] = absent if part is None else part
        row += len(batch)
    return gathered


def _coordinates(batches: Sequence[Batch]) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(name for batch in batches for name in batch.coordinates)
    absent = np.full(2, np.nan)
    return {name: _gather(batches, [b.coordinates.pop(name, None) for b in batches], absent) for name in names}


def _indices(batches: Sequence[Batch], counts: Mapping[str, int], place: Place) -> dict[str, NDArray[np.int64]]:
    """Return dim -> labels: the dims of `counts` first, in its order, then those that only tiles have."""
    seen = dict.fromkeys(dim for batch in batches for dim in batch.indices)
    columns: dict[str, NDArray[np.int64]] = {}
    for dim in (*counts, *(dim for dim in seen if dim not in counts)):
        parts = [batch.indices.pop(dim, None) for batch in batches]
        if dim not in seen:
            columns[dim] = np.zeros(sum(map(len, batches)), np.int64)
            continue
        column = _gather(batches, parts, np.array(ABSENT_INDEX))
        columns[dim] = _without_gaps(column, dim, counts, place)
    extra = [dim for dim in seen if dim not in counts]
    if extra:
        place.note("extra dims", f"tiles have the indices {extra}, which `shape` does not count; they are kept.")
    return columns


def _without_gaps(column: NDArray[np.int64], dim: str, counts: Mapping[str, int], place: Place) -> NDArray[np.int64]:
    absent = column == ABSENT_INDEX
    if not absent.any():
        return column
    if counts.get(dim) == 1:
        return np.where(absent, 0, column)
    pointer = member(f"tiles[{int(absent.argmax())}].indices", dim)
    why = f"`shape` counts {counts[dim]}" if dim in counts else "`shape` does not count it"
    raise place.error(pointer, f"is missing: other tiles have it, and {why}", advice="Give every tile this index.")


def _digests(batches: Sequence[Batch], place: Place) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]:
    malformed = [tile for batch in batches if batch.sha256 for tile in batch.sha256.malformed]
    if malformed:
        others = f" (and {len(malformed) - 1} more)" if len(malformed) > 1 else ""
        place.note("sha256", f"tiles[{malformed[0]}].sha256{others} is not 64 hex digits; treated as absent.")
    if not any(batch.sha256 and batch.sha256.present.any() for batch in batches):
        return None, None
    digests = [batch.sha256.digests if batch.sha256 else None for batch in batches]
    present = [batch.sha256.present if batch.sha256 else None for batch in batches]
    return _gather(batches, digests, np.zeros(32, np.uint8)), _gather(batches, present, np.zeros((), np.bool_))
