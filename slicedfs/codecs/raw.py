"""RAW: pixels without a header; the document tells their shape, dtype, order and compression. Pure.

``extras.slicedfs.raw`` = {"dtype": "<u2", "order": "C" or "F", "compressor": null, "gzip", "zlib", "zstd", "lz4" or
"blosc"}. Order "C": x varies fastest (samples before it, where there are any), "F": the reverse. lz4 is its frame
format. The file holds the pixels, all of them, and nothing else.
"""

import zlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, damaged, missing_extra, translated
from slicedfs.codecs.hints import hint_of_run, without_ones
from slicedfs.codecs.npy import plain_dtype
from slicedfs.codecs.parts import Cut, Window, cut_run
from slicedfs.codecs.tile import Array, Bytes, TileHeader, TileRequest
from slicedfs.errors import CodecError
from slicedfs.ranges import ByteRange

__all__ = ["RawCodec", "RawLayout", "hinted_run"]

_ORDER = ("z", "y", "x", "s")
_KEYS = {"dtype", "order", "compressor"}
_HINT_KEYS = {"kind", "offset", "dtype", "order", "size", "shape"}
_ZLIB_BITS = {"gzip": 31, "zlib": 15}
_BY_IMAGECODECS = {"zstd": "zstd_decode", "lz4": "lz4f_decode", "blosc": "blosc_decode"}
_BLOSC_HEADER_BYTES = 16
_COMPRESSORS = (*_ZLIB_BITS, *_BY_IMAGECODECS)


@dataclass(frozen=True, slots=True)
class RawLayout:
    """All pixels in one run of bytes, at a place that the document tells."""

    offset: int
    """First byte of the pixels."""
    dtype: np.dtype[np.generic]
    """As stored, of any byte order."""
    shape: tuple[int, ...]
    """Size of each axis."""
    dims: tuple[str, ...]
    """Name of each axis, in the order z, y, x, s."""
    order: Literal["C", "F"]
    """Which axis varies fastest: the last, or the first."""
    file_size: int | None = None
    """Bytes of the file, where stated."""
    format: str = "RAW"
    """For messages."""

    @property
    def header(self) -> TileHeader:
        """What the document says of the file."""
        return TileHeader(self.shape, self.dims, self.dtype.newbyteorder("="))

    @property
    def head(self) -> ByteRange | None:
        """None: nothing of the file tells its layout."""
        return None

    @property
    def repeats(self) -> bool:
        """True."""
        return True

    @property
    def stop(self) -> int:
        """One past the last byte of the pixels."""
        return self.offset + prod(self.shape) * self.dtype.itemsize

    @property
    def size(self) -> int:
        """The smallest size that a file of this layout has."""
        return self.stop if self.file_size is None else self.file_size

    def confirms(self, head: Bytes) -> bool:  # noqa: ARG002 - nothing of the file tells its layout
        """Return True: the document's word is taken."""
        return True

    def cut(self, window: Window) -> Cut:
        """Return the rows that hold a window."""
        return cut_run(self.offset, self.shape, self.dtype, self.order, window)

    def hint(self) -> dict[str, Any] | None:
        """Return the hint that says the same."""
        return hint_of_run(self.offset, self.header, self.dtype, self.order)


class RawCodec:
    """RAW tiles; gzip and zlib by Python itself, other compressors by imagecodecs."""

    name = "RAW"
    extensions = ()

    def matches(self, head: bytes) -> bool:  # noqa: ARG002 - any bytes may be pixels
        """Return False: no bytes tell that a file is of this format."""
        return False

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Refuse: the header is the document's, see `stated_header`.

        Raises
        ------
        CodecError
            Always.
        """
        yield from ()
        raise CodecError(f"{url}: is of the format RAW, which has no header. State extras.slicedfs.raw.", url=url)

    def stated_header(self, request: TileRequest) -> TileHeader:
        """Return the header that the document states; its size is checked.

        Raises
        ------
        CodecError
            The document does not state shape and dtype, or more pixels than allowed.
        """
        layout, _ = _stated(request)
        return layout.header

    def fixed_layout(self, request: TileRequest) -> RawLayout | None:
        """Return the layout, which no byte of the file tells; None where the file is compressed.

        Raises
        ------
        CodecError
            As in `stated_header`.
        """
        layout, compressor = _stated(request)
        return layout if compressor is None else None

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the pixels; a read-only view of `data` where it is not compressed, and in native byte order.

        Raises
        ------
        CodecError
            The document does not state shape and dtype; the file holds fewer or more pixels, or is damaged.
        MissingExtraError
            The compressor needs imagecodecs.
        """
        layout, compressor = _stated(request)
        with translated(request.url, self.name, len(data)):
            plain = data if compressor is None else _decompressed(bytes(data), compressor, layout.stop, request)
        if len(plain) != layout.stop:
            held = "it holds" if compressor is None else f"{compressor} gives"
            problem = f"{layout.shape} of {layout.dtype} are {layout.stop:,} bytes, {held} {len(plain):,}"
            raise damaged(request.url, self.name, len(data), problem)
        flat = np.frombuffer(plain, layout.dtype)
        array: Array = flat.astype(layout.header.dtype, copy=False).reshape(layout.shape, order=layout.order)
        return array, layout.dims


def _stated(request: TileRequest) -> tuple[RawLayout, str | None]:
    """Return layout and compressor as the document states them."""
    raw = request.raw
    if raw is None or request.shape is None:
        missing = "extras.slicedfs.raw" if raw is None else "tile_shape"
        raise CodecError(
            f"{request.url}: is of the format RAW, which has no header, but the document states no {missing}. State "
            f'it, as {{"dtype": "<u2", "order": "C", "compressor": null}} and {{"y": 512, "x": 512}}.',
            url=request.url,
        )
    read = _read(raw)
    if read is None:
        raise CodecError(
            f'{request.url}: extras.slicedfs.raw must state a dtype as "<u2", order "C" or "F", and compressor null, '
            f"{', '.join(_COMPRESSORS)}, got {raw!r}. Correct it in the document.",
            url=request.url,
            value=raw,
        )
    dtype, order, compressor = read
    layout = _laid_out(0, dtype, order, request.shape)
    check_size(layout.header, request)
    fit_header(layout.header, request)
    return layout, compressor


def _read(raw: object) -> tuple[np.dtype[np.generic], Literal["C", "F"], str | None] | None:
    """Return dtype, order and compressor; None where they are not understood."""
    if not isinstance(raw, Mapping):  # a document may state anything
        return None
    dtype, order, compressor = _dtype(raw.get("dtype")), raw.get("order", "C"), raw.get("compressor")
    if dtype is None or order not in ("C", "F") or compressor not in (None, *_COMPRESSORS) or set(raw) - _KEYS:
        return None
    return dtype, order, compressor


def _laid_out(
    offset: int,
    dtype: np.dtype[np.generic],
    order: Literal["C", "F"],
    shape: Mapping[str, int],
    size: int | None = None,
) -> RawLayout:
    dims = tuple([dim for dim in _ORDER if dim in shape])
    return RawLayout(offset, dtype, tuple([int(shape[dim]) for dim in dims]), dims, order, size)


def _dtype(stated: object) -> np.dtype[np.generic] | None:
    try:
        return plain_dtype(stated)
    except (ValueError, TypeError):
        return None


def _decompressed(data: bytes, compressor: str, n_bytes: int, request: TileRequest) -> bytes:
    """Return at most one byte more than `n_bytes`, so that a bomb is not inflated."""
    if compressor in _ZLIB_BITS:
        inflater = zlib.decompressobj(_ZLIB_BITS[compressor])
        plain = inflater.decompress(data, n_bytes + 1)
        if not inflater.eof and len(plain) <= n_bytes:
            raise ValueError(f"its {compressor} stream is cut short")
        return plain
    try:
        import imagecodecs
    except ImportError as error:
        raise missing_extra(request.url, f"the compressor {compressor}") from error
    if compressor == "blosc":
        _check_blosc(data)
    found: bytes = getattr(imagecodecs, _BY_IMAGECODECS[compressor])(data, out=n_bytes + 1)  # lz4 cuts at the bound
    return found


def _check_blosc(data: bytes) -> None:
    """Refuse a blosc chunk that is cut short: its decoder would read beyond the end.

    Format: README_CHUNK_FORMAT.rst of c-blosc 1; bytes 12 to 16 are the size of the chunk.
    """
    size = int.from_bytes(data[12:16], "little")
    if len(data) < _BLOSC_HEADER_BYTES or size != len(data):
        raise ValueError(f"it is not a blosc chunk of {len(data):,} bytes, its header tells {size:,}")


def hinted_run(hint: Mapping[str, Any], request: TileRequest) -> RawLayout | None:
    """Return the layout that a hint of the kind "raw" states; None where it is not understood."""
    if hint.get("kind") != "raw" or set(hint) - _HINT_KEYS or request.shape is None:
        return None
    offset, order, size = hint.get("offset"), hint.get("order", "C"), hint.get("size")
    dtype = _dtype(hint.get("dtype"))
    if dtype is None or order not in ("C", "F") or type(offset) is not int or offset < 0:
        return None
    layout = _laid_out(offset, dtype, order, request.shape, size)
    if size is not None and (type(size) is not int or size < layout.stop):
        return None
    shape = hint.get("shape", layout.shape)
    if not isinstance(shape, (list, tuple)) or without_ones(tuple(shape)) != without_ones(layout.shape):
        return None
    try:
        check_size(layout.header, request)
    except CodecError:
        return None  # reading the file tells what is wrong
    return layout
