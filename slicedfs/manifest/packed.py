"""The packed index of a tile set: its columns in one binary file, so that ten million tiles need no JSON parser.

Written by ``slicedfs index``; opening the index gives the tile set that it was made from. The file, little-endian::

    0       8 bytes   MAGIC
    8       uint32    version of this layout, 1
    12      uint32    length of the header
    16      header    JSON, see Header; padded with zeros to a multiple of 64
    …       body      sections: plain arrays, each at a multiple of 64 bytes from the start of the body

An index is no more trusted than a document: every length, offset, type and code is checked before it is used.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from slicedfs.errors import ManifestError
from slicedfs.manifest.checks import LARGEST, Place, shape
from slicedfs.manifest.lazily import JsonRows, LazyColumns, ViewedStrings
from slicedfs.manifest.text import load_part
from slicedfs.manifest.tileset import read_tile_set
from slicedfs.model import Strings, Tiles, TileSetDocument
from slicedfs.url import join

__all__ = ["MAGIC", "Made", "Packed", "is_packed", "unpack"]

MAGIC = b"\x93SLFSIDX"
VERSION = 1
ALIGNMENT = 64
PREFIX = struct.Struct("<8sII")

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an index was made from."""

    reference: str
    """The document, relative to the index where it lies beside it."""
    sha256: Digest
    """Of the document's bytes."""
    size: Count | None = None
    """Of the document in bytes, as its filesystem told; None where it did not."""
    etag: str | None = None
    """Of the document, likewise."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One array of the body."""

    dtype: str
    shape: list[Count]
    at: Count
    """Where it starts in the body."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value a tile, in one of three forms."""

    value: Count | None = None
    """All tiles have it."""
    rows: Section | None = None
    """One row a tile."""
    table: Section | None = None
    """Distinct rows; `codes` says which one each tile has."""
    codes: "Column | None" = None


class Texts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Packed texts, as in :class:`slicedfs.model.Strings`."""

    ends: Section
    blob: Section


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """JSON values of some tiles."""

    tiles: Section
    """Numbers of the tiles, ascending."""
    texts: Texts


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the file starts with."""

    made: Made
    document: dict[str, Any]
    """The document without its tiles."""
    tiles: Count
    body: Count
    """Length of the body in bytes."""
    sha256: Digest
    """Of the body."""
    files: Texts
    indices: dict[str, Column]
    coordinates: dict[str, Column]
    shapes: list[Any]
    shape_codes: Column | None
    """Numbers of shapes, counted from 1; 0 where a tile states none."""
    formats: list[str]
    format_codes: Column | None
    digests: Section | None
    has_digest: Section | None
    """None: all tiles have one, where there are `digests`."""
    extras: Values
    unknown: Values


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An index that has been read."""

    document: TileSetDocument
    """The tile set; its URL is that of the document that the index was made from."""
    made: Made
    """What it was made from."""
    digest: str
    """sha256 of the header, which holds that of the body: what tells two indexes apart, hex."""
    header_bytes: int
    """Length of all that was looked at."""


def is_packed(data: bytes | memoryview) -> bool:
    """Tell whether `data` starts like an index."""
    return bytes(data[: len(MAGIC)]) == MAGIC


def unpack(data: bytes | memoryview, url: str, *, verify: bool = True) -> Packed:
    """Read an index.

    Parameters
    ----------
    data
        The bytes of the file, which the result refers to: columns are views of them, or are made when they are asked
        for.
    url
        Where they were read from.
    verify
        Compare the body to its sha256. False: do not, so that a file that is mapped into memory is not read through.

    Raises
    ------
    ManifestError
        The file is damaged, or of another version.
    """
    place = Place(url)
    view = memoryview(data).cast("B").toreadonly()
    header, raw, body = _split(view, place)
    if verify and hashlib.sha256(body).hexdigest() != header.sha256:
        raise _damaged(place, "its sha256 is not the one that its header states")
    made_from = join(url, header.made.reference)
    reader = _Reader(header, body, place)
    document = read_tile_set({**header.document, "tiles": None}, Place(made_from), lambda *_: reader.tiles())
    return Packed(document, header.made, hashlib.sha256(raw).hexdigest(), len(view) - len(body))


def _split(view: memoryview, place: Place) -> tuple[Header, memoryview, memoryview]:
    """Return header, the header's bytes, and body."""
    if len(view) < PREFIX.size:
        raise _damaged(place, f"it has {len(view)} bytes")
    _, version, length = PREFIX.unpack_from(view)
    if version != VERSION:
        wrong = f"is an index of version {version}, and {VERSION} can be read"
        raise place.error("", wrong, advice="Write it again with `slicedfs index`.")
    raw = view[PREFIX.size : PREFIX.size + length]
    body = view[aligned(PREFIX.size + length) :]
    if len(raw) < length:
        raise _damaged(place, f"it ends inside its header, after {len(view)} bytes")
    try:
        header = msgspec.convert(load_part(raw), Header)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise _damaged(place, f"its header cannot be read ({error})") from error
    if len(body) != header.body:
        raise _damaged(place, f"its body has {len(body)} bytes instead of {header.body}")
    return header, raw, body


def aligned(position: int) -> int:
    """Return the next multiple of 64."""
    return -(-position // ALIGNMENT) * ALIGNMENT


def _damaged(place: Place, why: str) -> ManifestError:
    return place.error("", f"is a damaged index: {why}", advice="Write it again with `slicedfs index`.")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns sections into columns."""

    header: Header
    body: memoryview
    place: Place

    def tiles(self) -> Tiles:
        """Return all columns; those that take long to make are made when they are asked for."""
        header, place = self.header, self.place
        shapes = [shape(value, f"shapes[{i}]", place) for i, value in enumerate(header.shapes)]
        digests, present = self._digests()
        for name, column in (*header.indices.items(), *header.coordinates.items()):
            self._refuse_no_form(column, name)
        return Tiles(
            files=self._texts(header.files, header.tiles),
            indices=LazyColumns({dim: (self._labels, column) for dim, column in header.indices.items()}),
            coordinates=LazyColumns({name: (self._ranges, of) for name, of in header.coordinates.items()}),
            shapes=tuple(value for value in shapes if value is not None),
            shape_codes=self._optional(header.shape_codes, len(shapes)),
            formats=tuple(header.formats),
            format_codes=self._optional(header.format_codes, len(header.formats)),
            sha256=digests,
            has_sha256=present,
            extras=self._values(header.extras),
            unknown=self._values(header.unknown),
        )

    def _array(self, section: Section, dtypes: tuple[str, ...], *tail: int, rows: int | None = None) -> NDArray[Any]:
        """Return a section as an array of (rows, *tail); `rows` None: the number of tiles; -1: any."""
        rows = self.header.tiles if rows is None else rows
        if section.dtype not in dtypes:
            raise _damaged(self.place, f"a section has dtype {section.dtype!r}, and may have {', '.join(dtypes)}")
        stated = tuple(section.shape)
        if len(stated) != 1 + len(tail) or stated[1:] != tail or rows not in (-1, stated[0]):
            wanted = ("any" if rows < 0 else rows, *tail)
            raise _damaged(self.place, f"a section has shape {stated}, and should have {wanted}")
        dtype = np.dtype(section.dtype)
        if section.at % ALIGNMENT or section.at + prod(stated) * dtype.itemsize > len(self.body):
            raise _damaged(self.place, f"a section of {stated} {section.dtype} lies at byte {section.at} of the body")
        return np.frombuffer(self.body, dtype, prod(stated), section.at).reshape(stated)

    def _refuse_no_form(self, column: Column, name: str) -> None:
        """Look at the sections of a column, not into them."""
        forms = [column.value is not None, column.rows is not None, column.table is not None]
        if sum(forms) != 1 or (column.table is None) != (column.codes is None):
            raise _damaged(self.place, f"the column {name!r} has no form, or several")
        if column.codes is not None:
            self._refuse_no_form(column.codes, name)

    def _whole_numbers(self, column: Column, most: int) -> NDArray[np.int64]:
        """Return a column of integers from 0 to `most`."""
        if column.value is not None:
            values = np.broadcast_to(np.int64(column.value), (self.header.tiles,))
        elif column.rows is not None:
            values = self._array(column.rows, ("<u1", "<u2", "<u4", "<i8")).astype(np.int64, copy=False)
        else:
            raise _damaged(self.place, "a column of integers has a table")
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) <= most:
            raise _damaged(self.place, f"a column of integers has values outside 0 to {most}")
        return values

    def _labels(self, column: Column) -> NDArray[np.int64]:
        return self._whole_numbers(column, LARGEST)

    def _ranges(self, column: Column) -> NDArray[np.float64]:
        if column.rows is not None:
            return self._finite(self._array(column.rows, ("<f8",), 2))
        if column.table is None or column.codes is None:
            raise _damaged(self.place, "a coordinate has an integer value")
        table = self._finite(self._array(column.table, ("<f8",), 2, rows=-1))
        codes = self._whole_numbers(column.codes, len(table) - 1)
        return np.take(table, codes, axis=0)

    def _finite(self, ranges: NDArray[Any]) -> NDArray[np.float64]:
        absent = np.isnan(ranges)
        if np.isinf(ranges).any() or (absent[:, 0] != absent[:, 1]).any():
            raise _damaged(self.place, "a coordinate is infinite, or has one end")
        return ranges.astype(np.float64, copy=False)

    def _optional(self, column: Column | None, count: int) -> NDArray[np.int32] | None:
        """Return codes that may be -1."""
        if column is None:
            return None
        self._refuse_no_form(column, "codes")
        codes = self._whole_numbers(column, count)
        if column.value is not None:
            return np.broadcast_to(np.int32(column.value - 1), codes.shape)
        return (codes - 1).astype(np.int32)

    def _digests(self) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]:
        header = self.header
        if header.digests is None:
            return None, None
        digests = self._array(header.digests, ("<u1",), 32)
        if header.has_digest is None:
            return digests, np.broadcast_to(np.True_, (header.tiles,))
        return digests, self._array(header.has_digest, ("<u1",)) != 0

    def _texts(self, texts: Texts, rows: int) -> Strings:
        ends = self._array(texts.ends, ("<i8",), rows=rows).astype(np.int64, copy=False)
        self._array(texts.blob, ("<u1",), rows=-1)
        blob = self.body[texts.blob.at : texts.blob.at + texts.blob.shape[0]]
        return ViewedStrings(blob, ends)

    def _values(self, values: Values) -> Mapping[int, Any]:
        """Return tile -> value."""
        tiles = self._array(values.tiles, ("<i8",), rows=-1).astype(np.int64, copy=False)
        if len(tiles) and not (tiles[0] >= 0 and tiles[-1] < self.header.tiles and (np.diff(tiles) > 0).all()):
            raise _damaged(self.place, "values belong to tiles that are not there, or not in order")
        return JsonRows(tiles, self._texts(values.texts, len(tiles))) if len(tiles) else {}
