"""NUMPY: the .npy format, versions 1 to 3. Pure.

Format: "numpy.lib.format" in NumPy's documentation (Format Version 1.0, 2.0, 3.0; NEP 1). Headers are parsed
here, never by ``numpy.load``; nothing is ever unpickled. Accepted are booleans, integers, floats and complex
numbers of any byte order, in C or Fortran order. Bytes after the array are ignored, as numpy does.
"""

import ast
import re
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any, ClassVar

import numpy as np

from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, damaged, translated
from slicedfs.codecs.hints import hint_of_run
from slicedfs.codecs.parts import Cut, Window, cut_run
from slicedfs.codecs.tile import HEADER_BYTES, UNNAMED, Array, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

__all__ = ["NpyCodec", "NpyLayout", "plain_dtype"]

_MAGIC = b"\x93NUMPY"
_MAX_HEADER_BYTES = 10_000  # numpy's own limit
_MAX_AXES = 64
_DESCR = re.compile(r"[<>|=]?[?buifc][0-9]{0,2}")
_LITTLE_ENDIAN_INT = {1: 2, 2: 4, 3: 4}  # version -> bytes of the header's length


@dataclass(frozen=True, slots=True)
class NpyLayout:
    """Where the pixels lie: all of them in one run of bytes."""

    offset: int
    """First byte of the pixels."""
    dtype: np.dtype[np.generic]
    """As stored, of any byte order."""
    shape: tuple[int, ...]
    """As in the file, no axis named."""
    order: str
    """"C" or "F"."""
    data: bytes = field(default=b"", repr=False)
    """The bytes before the pixels."""

    format: ClassVar[str] = "NUMPY"
    repeats: ClassVar[bool] = True

    @property
    def head(self) -> ByteRange:
        """The bytes before the pixels: they decide on the layout."""
        return ByteRange(0, self.offset)

    @property
    def size(self) -> int:
        """The smallest size of a file of this layout."""
        return self.stop

    def confirms(self, head: Bytes) -> bool:
        """Return whether a file whose first bytes are `head` has this layout: the header may be spelt differently."""
        if head == self.data:
            return True
        try:
            other = _layout(head)
        except Exception:  # noqa: BLE001 - a header that cannot be read confirms nothing
            return False
        return replace(other, data=self.data) == self

    def cut(self, window: Window) -> Cut:
        """Return the rows that hold a window."""
        return cut_run(self.offset, self.shape, self.dtype, self.order, window)

    def hint(self) -> dict[str, Any] | None:
        """Return the hint that says the same."""
        return hint_of_run(self.offset, self.header, self.dtype, self.order)

    @property
    def stop(self) -> int:
        """One past the last byte of the pixels."""
        return self.offset + prod(self.shape) * self.dtype.itemsize

    @property
    def header(self) -> TileHeader:
        """What the file says of itself."""
        return TileHeader(self.shape, (UNNAMED,) * len(self.shape), self.dtype.newbyteorder("="))


class NpyCodec:
    """NUMPY tiles; the pixels are a read-only view of the bytes where their byte order is the machine's."""

    name = "NUMPY"
    extensions = (".npy",)

    def matches(self, head: bytes) -> bool:
        """Return whether `head` starts an NPY file."""
        return head.startswith(_MAGIC)

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Read the header; one range, a second one only where it is longer than `HEADER_BYTES`.

        Raises
        ------
        CodecError
            The bytes are not an NPY header of numbers.
        """
        head = yield ByteRange(0, HEADER_BYTES)
        with translated(url, self.name, len(head)):
            return _layout(head).header

    def layout(self, request: TileRequest) -> Generator[ByteRange, bytes, NpyLayout]:
        """Read where the pixels lie; ranges as for `probe`.

        Raises
        ------
        CodecError
            The header is not one of numbers, or disagrees with `request`; the file is known to be too short.
        """
        head = yield ByteRange(0, HEADER_BYTES)
        with translated(request.url, self.name, len(head)):
            layout = _layout(head)
        _check(layout, request, len(head) if len(head) < HEADER_BYTES else None)
        return layout

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the array, without a copy where its byte order is the machine's; no axis is named.

        Raises
        ------
        CodecError
            The header is not one of numbers, or disagrees with `request`; the pixels are cut short.
        """
        with translated(request.url, self.name, len(data)):
            layout = _layout(data)
        _check(layout, request, len(data))
        header = layout.header
        flat = np.frombuffer(data, layout.dtype, prod(layout.shape), layout.offset)
        array = flat.astype(header.dtype, copy=False).reshape(layout.shape, order=layout.order)  # type: ignore[call-overload]
        return array, header.dims


def _check(layout: NpyLayout, request: TileRequest, n_bytes: int | None) -> None:
    """Refuse a layout that disagrees with `request`, or with the size of the file where it is known."""
    header = layout.header
    check_size(header, request)
    fit_header(header, request)
    if n_bytes is not None and layout.stop > n_bytes:
        problem = f"{layout.shape} of {layout.dtype} need {layout.stop:,} bytes with the header; it is cut short"
        raise damaged(request.url, NpyCodec.name, n_bytes, problem)


def _layout(data: Bytes) -> NpyLayout:
    """Return the layout of the file that starts with `data`; any exception where it is not one of numbers."""
    if bytes(data[:6]) != _MAGIC:
        raise ValueError(f"it does not start with {_MAGIC!r}")
    version = bytes(data[6:8])
    width = _LITTLE_ENDIAN_INT.get(version[0]) if len(version) == 2 else None  # noqa: PLR2004  (major, minor)
    if width is None:
        raise ValueError(f"its version is {tuple(version)}, those that can be read are (1, 0), (2, 0), (3, 0)")
    start = 8 + width
    length = int.from_bytes(data[8:start], "little")
    if length > _MAX_HEADER_BYTES:
        raise ValueError(f"its header claims {length:,} bytes, the limit is {_MAX_HEADER_BYTES:,}")
    text = bytes(data[start : start + length])
    if len(text) < length or len(data) < start:
        raise ValueError("it ends inside its header")
    dtype, shape, order = _parse(text, "utf-8" if version[0] == 3 else "latin-1")  # noqa: PLR2004
    return NpyLayout(start + length, dtype, shape, order, bytes(data[: start + length]))


@lru_cache(maxsize=256)  # the tiles of a set share one header
def _parse(text: bytes, encoding: str) -> tuple[np.dtype[np.generic], tuple[int, ...], str]:
    header = ast.literal_eval(text.decode(encoding).strip())
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError(f"its header is not a dict of descr, fortran_order and shape, but {text[:80]!r}")
    if type(header["fortran_order"]) is not bool:
        raise ValueError(f"fortran_order must be True or False, got {header['fortran_order']!r}")
    return plain_dtype(header["descr"]), _shape(header["shape"]), "F" if header["fortran_order"] else "C"


def plain_dtype(descr: object) -> np.dtype[np.generic]:
    """Return the dtype of numbers that `descr` writes, as "<u2"; ValueError, TypeError where it is another one."""
    if not isinstance(descr, str) or _DESCR.fullmatch(descr) is None:
        raise ValueError(
            f"its dtype is {str(descr)[:80]!r}; tiles are booleans, integers, floats or complex numbers, and objects "
            f"are never unpickled"
        )
    return np.dtype(descr)


def _shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, tuple) or len(shape) > _MAX_AXES or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"its shape must be a tuple of integers >= 0, got {str(shape)[:80]}")
    return shape
