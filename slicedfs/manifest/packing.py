"""Model -> the packed index that :mod:`slicedfs.manifest.packed` reads."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from slicedfs.manifest.checks import Place
from slicedfs.manifest.packed import MAGIC, PREFIX, VERSION, Column, Header, Made, Section, Texts, Values, aligned
from slicedfs.model import Strings, TileSetDocument

__all__ = ["pack"]

_FEW = 1 << 16
"""Most distinct rows for which a table is made."""
_SAMPLE = 1 << 12


def pack(document: TileSetDocument, made: Made) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the index of `document`, piece by piece.

    ``unpack`` of them gives an equal document. The same document gives the same bytes.

    Parameters
    ----------
    document
        One document, not several put together.
    made
        Which document it is.

    Raises
    ------
    ManifestError
        The document holds values that are not JSON.
    """
    body = _Body()
    tiles = document.tiles
    try:
        header = Header(
            made=made,
            document=_head(document),
            tiles=len(tiles),
            files=body.texts(tiles.files),
            indices={dim: body.whole_numbers(column) for dim, column in tiles.indices.items()},
            coordinates={name: body.ranges(column) for name, column in tiles.coordinates.items()},
            shapes=[dict(shape) for shape in tiles.shapes],
            shape_codes=None if tiles.shape_codes is None else body.whole_numbers(tiles.shape_codes + 1),
            formats=list(tiles.formats),
            format_codes=None if tiles.format_codes is None else body.whole_numbers(tiles.format_codes + 1),
            digests=None if tiles.sha256 is None else body.put(tiles.sha256, "<u1"),
            has_digest=_partly(tiles.has_sha256, body),
            extras=body.values(tiles.extras),
            unknown=body.values(tiles.unknown),
            body=body.size,
            sha256=body.digest.hexdigest(),
        )
        raw = _json(msgspec.to_builtins(header))
    except (TypeError, ValueError, RecursionError) as error:
        raise Place(document.url).error("", f"holds extras or other values that are not JSON ({error})") from error
    start = PREFIX.size + len(raw)
    yield PREFIX.pack(MAGIC, VERSION, len(raw)) + raw + bytes(aligned(start) - start)
    yield from body.pieces


def _head(document: TileSetDocument) -> dict[str, Any]:
    """Return the fields of the document, without its tiles."""
    head: dict[str, Any] = {
        "version": document.version,
        "dimensions": list(document.dimensions),
        "shape": dict(document.shape),
        "extras": document.extras,
    }
    if document.default_tile_shape is not None:
        head["default_tile_shape"] = dict(document.default_tile_shape)
    if document.default_tile_format is not None:
        head["default_tile_format"] = document.default_tile_format
    return head | dict(document.unknown)


def _partly(present: NDArray[np.bool_] | None, body: "_Body") -> Section | None:
    return None if present is None or present.all() else body.put(present, "<u1")


def _json(value: object) -> bytes:
    """Return JSON in ASCII: lone surrogates have no UTF-8."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


@dataclass(slots=True)
class _Body:
    """The sections so far."""

    pieces: list[bytes | memoryview] = field(default_factory=list)
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def put(self, array: NDArray[Any], dtype: str) -> Section:
        """Append an array, and zeros up to where the next one starts."""
        stored = np.ascontiguousarray(array, np.dtype(dtype))
        section = Section(dtype, list(stored.shape), self.size)
        flat = memoryview(stored.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        for piece in (flat, bytes(aligned(len(flat)) - len(flat))):
            self.digest.update(piece)
            self.pieces.append(piece)
            self.size += len(piece)
        return section

    def whole_numbers(self, column: NDArray[Any]) -> Column:
        """Append integers >= 0 as narrowly as they fit; nothing where all are equal."""
        if not len(column):
            return Column(rows=self.put(column, "<u1"))
        least, most = int(column.min()), int(column.max())
        if least == most:
            return Column(value=most)
        dtype = next((d for d in ("<u1", "<u2", "<u4") if most <= np.iinfo(d).max), "<i8")
        return Column(rows=self.put(column, dtype))

    def ranges(self, column: NDArray[np.float64]) -> Column:
        """Append (n, 2) floats; as a table where few rows differ, bit for bit."""
        bits = np.ascontiguousarray(column, "<f8").view("<u8")
        keys = bits[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ bits[:, 1]  # a hash; may wrap
        if len(keys) and len(np.unique(keys[:: max(len(keys) // _SAMPLE, 1)])) <= _SAMPLE // 2:
            _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
            if len(first) <= min(_FEW, len(keys) // 2 + 1) and np.array_equal(bits[first][codes], bits):
                return Column(table=self.put(column[first], "<f8"), codes=self.whole_numbers(codes))
        return Column(rows=self.put(column, "<f8"))

    def texts(self, texts: Strings) -> Texts:
        """Append packed texts."""
        return Texts(self.put(texts.ends, "<i8"), self.put(np.frombuffer(texts.blob, np.uint8), "<u1"))

    def values(self, values: Mapping[int, Any]) -> Values:
        """Append the JSON of some tiles' values."""
        numbers = sorted(values)
        texts = Strings.pack(_json(values[number]).decode("ascii") for number in numbers)
        return Values(self.put(np.array(numbers, np.int64), "<i8"), self.texts(texts))
