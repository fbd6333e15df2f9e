"""PNG, with values as stored: no palette, scaling, gamma or transparency is applied. Pure.

Format: "Portable Network Graphics (PNG) Specification (Third Edition)", W3C: 5.3 chunk layout, 11.2.1 IHDR,
7.2 scanlines, 8.1 interlacing.
"""

import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, damaged, missing_extra, translated
from slicedfs.codecs.tile import HEADER_BYTES, Array, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

__all__ = ["PngCodec", "PngLayout"]

_MAGIC = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_MAX_SIDE = 2**31 - 1
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> samples per pixel
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
_INFLATED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PngLayout:
    """What the IHDR chunk says."""

    width: int
    """Pixels along x."""
    height: int
    """Pixels along y."""
    depth: int
    """Bits per sample: 1, 2, 4, 8 or 16."""
    colour: int
    """0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    interlaced: bool
    """Whether the rows come in the seven passes of Adam7."""

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return _SAMPLES[self.colour]

    @property
    def header(self) -> TileHeader:
        """What the file says of itself; samples of fewer than 8 bits become uint8, not scaled."""
        dtype = np.dtype(np.uint16 if self.depth == 16 else np.uint8)  # noqa: PLR2004
        if self.samples == 1:
            return TileHeader((self.height, self.width), ("y", "x"), dtype)
        return TileHeader((self.height, self.width, self.samples), ("y", "x", "s"), dtype)

    @property
    def inflated_bytes(self) -> int:
        """Length of the inflated scanlines, filter bytes included."""
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        return sum(self._pass_bytes(*each) for each in passes)

    def _pass_bytes(self, y: int, x: int, step_y: int, step_x: int) -> int:
        rows, columns = -((y - self.height) // step_y), -((x - self.width) // step_x)
        row_bytes = (columns * self.samples * self.depth + 7) // 8
        return rows * (1 + row_bytes) if rows > 0 and columns > 0 else 0


class PngCodec:
    """PNG tiles: Pillow; imagecodecs, where it is installed, for what Pillow would reduce to 8 bits."""

    name = "PNG"
    extensions = (".png",)

    def matches(self, head: bytes) -> bool:
        """Return whether `head` starts a PNG file."""
        return head.startswith(_MAGIC)

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Read the IHDR chunk, which is always the first; one range.

        Raises
        ------
        CodecError
            The bytes do not start with a sound IHDR chunk.
        """
        head = yield ByteRange(0, HEADER_BYTES)
        with translated(url, self.name, len(head)):
            return _layout(head).header

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the samples as stored; grey of 1, 2, 4 bits and palette indices as uint8.

        Raises
        ------
        CodecError
            A chunk is cut short or fails its checksum, rows are missing, the header disagrees with `request`.
        MissingExtraError
            Colour of 16 bits per sample needs imagecodecs.
        """
        n_bytes = len(data)
        with translated(request.url, self.name, n_bytes):
            layout = _layout(data)
        check_size(layout.header, request)
        fit_header(layout.header, request)
        with translated(request.url, self.name, n_bytes):
            stripped = b"".join([_MAGIC, *_needed_chunks(memoryview(data))])
            array = _decoded(stripped, layout, request.url)
            if _may_lack_rows(array, layout) and not _inflates_to(stripped, layout.inflated_bytes):
                raise damaged(request.url, self.name, n_bytes, "it has fewer rows than its header says")
        return array, layout.header.dims


def _layout(data: Bytes) -> PngLayout:
    """Return what IHDR says; any exception where it is not sound."""
    start = bytes(data[:33])
    if not start.startswith(_MAGIC + b"\0\0\0\rIHDR") or zlib.crc32(start[12:29]) != int.from_bytes(start[29:33]):
        raise ValueError("it does not start with a sound IHDR chunk")
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", start[16:29])
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise ValueError(f"its header states {width} x {height} pixels")
    if depth not in _DEPTHS.get(colour, ()) or compression or filters or interlace > 1:
        raise ValueError(
            f"its header states bit depth {depth}, colour type {colour}, compression {compression}, filter {filters}, "
            f"interlace {interlace}, which PNG does not define"
        )
    return PngLayout(width, height, depth, colour, interlace == 1)


def _needed_chunks(data: memoryview) -> Iterator[memoryview]:
    """Yield the chunks that carry pixels, checked; others could only change or slow down decoding."""
    at = len(_MAGIC)
    while True:
        length, kind = int.from_bytes(data[at : at + 4]), bytes(data[at + 4 : at + 8])
        chunk = data[at : at + 12 + length]
        if len(chunk) < 12 + length:
            raise ValueError(f"it is cut short inside the chunk {kind!r} at byte {at:,}")
        if kind in _KEPT:
            if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
                raise ValueError(f"the checksum of the chunk {kind!r} at byte {at:,} is wrong")
            yield chunk
        if kind == b"IEND":
            return
        at += len(chunk)


def _decoded(data: bytes, layout: PngLayout, url: str) -> Array:
    """Return the samples of `data`, which holds needed chunks only."""
    needs_exact = layout.depth == 16 and layout.samples > 1  # noqa: PLR2004  (Pillow gives 8 bits)
    imagecodecs = _imagecodecs()
    if needs_exact and imagecodecs is None:
        raise missing_extra(url, "PNG colour of 16 bits per sample")
    if imagecodecs is not None and layout.depth >= 8 and layout.colour != _PALETTE:  # noqa: PLR2004  (it scales fewer)
        array: Array = imagecodecs.png_decode(data, out=np.empty(layout.header.shape, layout.header.dtype))
        return array
    return _decoded_by_pillow(data, layout)


def _imagecodecs() -> Any | None:
    try:
        import imagecodecs
    except ImportError:
        return None
    return imagecodecs


def _decoded_by_pillow(data: bytes, layout: PngLayout) -> Array:
    """Return the samples; the plugin is called directly, so that Pillow's global pixel limit plays no part."""
    from PIL.PngImagePlugin import PngImageFile

    with PngImageFile(BytesIO(data)) as image:
        array = np.asarray(image)
    if layout.depth < 8 and layout.colour != _PALETTE and layout.depth > 1:  # noqa: PLR2004
        array = array // np.uint8(255 // (2**layout.depth - 1))  # Pillow scales to 0..255
    array = array.astype(layout.header.dtype, copy=False)
    if array.shape != layout.header.shape:
        raise ValueError(f"it was decoded to the shape {array.shape}, its header says {layout.header.shape}")
    return array


def _may_lack_rows(array: Array, layout: PngLayout) -> bool:
    """Return whether rows might be missing: Pillow leaves them zero, without an error."""
    return layout.interlaced or not array[-1].any()


def _inflates_to(data: bytes, n_bytes: int) -> bool:
    """Return whether the scanlines have `n_bytes` or more, inflating them piece by piece."""
    inflater, total = zlib.decompressobj(), 0
    for chunk in _needed_chunks(memoryview(data)):
        pending, piece = bytes(chunk[8:-4]) if bytes(chunk[4:8]) == b"IDAT" else b"", b"?"
        while total < n_bytes and (pending or piece) and not inflater.eof:
            piece = inflater.decompress(pending, _INFLATED_BYTES)
            pending = inflater.unconsumed_tail
            total += len(piece)
    return total >= n_bytes
