"""Batches of tiles -> the columns of the model."""

import io
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.manifest.checks import Place, member
from slicedfs.model import Strings, Tiles

__all__ = ["ABSENT_INDEX", "Batch", "Collector", "Digests", "Vocabulary"]

ABSENT_INDEX = -1
"""Stands in a column of labels for "the tile does not state it"."""

_SPARE = 1.05
"""Columns are made this much longer than seems needed: pages that are never written take no memory."""
_ABSENT: Mapping[str, NDArray[Any]] = {
    "files": np.array(0, np.int64),
    "indices": np.array(ABSENT_INDEX, np.int64),
    "coordinates": np.full(2, np.nan),
    "codes": np.array(-1, np.int32),
    "sha256": np.zeros(32, np.uint8),
    "present": np.array(False),  # noqa: FBT003 - a value, not an argument's meaning
}
"""Kind of column -> the row of a tile that does not state it."""


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


class Collector:
    """Takes batches one after the other and copies each into the columns at once.

    The whole is therefore never in memory twice: as long as the text of the document is there, every byte counts.
    """

    def __init__(self) -> None:
        self.count = 0
        """Tiles taken so far."""
        self._columns: dict[tuple[str, str], NDArray[Any]] = {}
        self._files = io.BytesIO()
        self._malformed: list[int] = []
        self._extras: dict[int, Any] = {}
        self._unknown: dict[int, Mapping[str, Any]] = {}

    def add(self, batch: Batch, part: float) -> None:
        """Take the next batch.

        Parameters
        ----------
        part
            How much of the document the batches so far are, over 0 to 1: tells how long columns will be.
        """
        stop = self.count + len(batch)
        length = stop if part >= 1 else int(stop / part * _SPARE) + 1
        parts = dict(_parts(batch, self._files.tell()))
        for key in dict.fromkeys((*self._columns, *parts)):
            self._put(key, parts.get(key), stop, length)
        self._files.write(batch.files.blob)
        self._malformed += batch.sha256.malformed if batch.sha256 else ()
        self._extras |= batch.extras
        self._unknown |= batch.unknown
        self.count = stop

    def _put(self, key: tuple[str, str], part: NDArray[Any] | None, stop: int, length: int) -> None:
        """Write the rows from `count` to `stop` of one column."""
        absent = _ABSENT[key[0]]
        column = self._columns.get(key)
        if column is None:
            column = self._columns[key] = np.empty((length, *absent.shape), absent.dtype)
            column[: self.count] = absent
        elif len(column) < stop:
            column.resize((max(length, stop), *absent.shape), refcheck=False)  # nobody else has seen it
        column[self.count : stop] = absent if part is None else part

    def tiles(self, counts: Mapping[str, int], vocabulary: Vocabulary, place: Place) -> Tiles:
        """Return what was collected; to be called once.

        Parameters
        ----------
        counts
            The document's ``shape``.

        Raises
        ------
        ManifestError
            Some tiles lack an index that others have.
        """
        for column in self._columns.values():
            column.resize((self.count, *column.shape[1:]), refcheck=False)
        digests, present = self._digests(place)
        return Tiles(
            files=Strings(self._files.getvalue(), self._column("files", "")),
            indices=self._indices(counts, place),
            coordinates={name: column for (kind, name), column in self._columns.items() if kind == "coordinates"},
            shapes=tuple(shape for _, shape in vocabulary.shapes.values()),
            shape_codes=_shortened(self._column("codes", "shape")) if vocabulary.shapes else None,
            formats=tuple(vocabulary.formats),
            format_codes=_shortened(self._column("codes", "format")) if vocabulary.formats else None,
            sha256=digests,
            has_sha256=present,
            extras=self._extras,
            unknown=self._unknown,
        )

    def _column(self, kind: str, name: str) -> NDArray[Any]:
        """Return one column; an empty one where no batch came."""
        return self._columns.get((kind, name), np.empty((0, *_ABSENT[kind].shape), _ABSENT[kind].dtype))

    def _indices(self, counts: Mapping[str, int], place: Place) -> dict[str, NDArray[np.int64]]:
        """Return dim -> labels: the dims of `counts` first, in its order, then those that only tiles have."""
        seen = {name: column for (kind, name), column in self._columns.items() if kind == "indices"}
        extra = [dim for dim in seen if dim not in counts]
        columns = {dim: seen.get(dim, np.zeros(self.count, np.int64)) for dim in (*counts, *extra)}
        if extra:
            place.note("extra dims", f"tiles have the indices {extra}, which `shape` does not count; they are kept.")
        return {dim: _without_gaps(column, dim, counts, place) for dim, column in columns.items()}

    def _digests(self, place: Place) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]:
        malformed = self._malformed
        if malformed:
            others = f" (and {len(malformed) - 1} more)" if len(malformed) > 1 else ""
            place.note("sha256", f"tiles[{malformed[0]}].sha256{others} is not 64 hex digits; treated as absent.")
        present = self._columns.get(("present", ""))
        if present is None or not present.any():
            return None, None
        return self._columns["sha256", ""], _shortened(present)


def _parts(batch: Batch, start: int) -> Iterator[tuple[tuple[str, str], NDArray[Any]]]:
    """Yield key and rows of every column of a batch, whose files begin at byte `start` of the whole."""
    yield ("files", ""), batch.files.ends + start
    for dim, labels in batch.indices.items():
        yield ("indices", dim), labels
    for name, ranges in batch.coordinates.items():
        yield ("coordinates", name), ranges
    yield ("codes", "shape"), batch.shape_codes
    yield ("codes", "format"), batch.format_codes
    if batch.sha256:
        yield ("sha256", ""), batch.sha256.digests
        yield ("present", ""), batch.sha256.present


def _shortened(column: NDArray[Any]) -> NDArray[Any]:
    """Return a column; where all rows are equal, a read-only view of one that takes no memory."""
    if len(column) and (column == column[0]).all():
        return np.broadcast_to(column[0].copy(), column.shape)
    return column


def _without_gaps(column: NDArray[np.int64], dim: str, counts: Mapping[str, int], place: Place) -> NDArray[np.int64]:
    absent = column == ABSENT_INDEX
    if not absent.any():
        return column
    if counts.get(dim) == 1:
        return np.where(absent, 0, column)
    pointer = member(f"tiles[{int(absent.argmax())}].indices", dim)
    why = f"`shape` counts {counts[dim]}" if dim in counts else "`shape` does not count it"
    raise place.error(pointer, f"is missing: other tiles have it, and {why}", advice="Give every tile this index.")
