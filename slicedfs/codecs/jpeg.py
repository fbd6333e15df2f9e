"""JPEG, baseline and progressive; EXIF orientation is not applied. Pure.

Format: ITU-T Recommendation T.81, Annex B: B.1.1 markers, B.2.2 frame header (SOF).
"""

import re
from collections.abc import Generator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, missing_extra, translated
from slicedfs.codecs.tile import HEADER_BYTES, Array, Bytes, TileHeader, TileRequest
from slicedfs.ranges import ByteRange

__all__ = ["JpegCodec", "JpegLayout"]

_MAGIC = b"\xff\xd8\xff"
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC lie between
_DROPPED = frozenset(range(0xE1, 0xF0)) - {0xEE} | {0xFE}  # APP1..APP15 and COM, not APP14: it tells the colours
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MAX_HEADER_ROUNDS = 256  # 4 MiB of pictures and profiles before the frame header


@dataclass(frozen=True, slots=True)
class JpegLayout:
    """What the frame header says."""

    height: int
    """Pixels along y."""
    width: int
    """Pixels along x."""
    samples: int
    """Samples per pixel: 1, 3 or 4."""
    depth: int
    """Bits per sample: 8 or 12."""

    @property
    def header(self) -> TileHeader:
        """What the file says of itself."""
        dtype = np.dtype(np.uint8 if self.depth == 8 else np.uint16)  # noqa: PLR2004
        if self.samples == 1:
            return TileHeader((self.height, self.width), ("y", "x"), dtype)
        return TileHeader((self.height, self.width, self.samples), ("y", "x", "s"), dtype)


class JpegCodec:
    """JPEG tiles: Pillow; imagecodecs for 12 bits per sample."""

    name = "JPEG"
    extensions = (".jpg", ".jpeg", ".jpe", ".jfif")

    def matches(self, head: bytes) -> bool:
        """Return whether `head` starts a JPEG file."""
        return head.startswith(_MAGIC)

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Read the frame header; further ranges only where large pictures or profiles lie before it.

        Raises
        ------
        CodecError
            No frame header is found.
        """
        head = yield ByteRange(0, HEADER_BYTES)
        for _ in range(_MAX_HEADER_ROUNDS):
            with translated(url, self.name, len(head)):
                layout = _layout(memoryview(head))
                if layout is not None:
                    return layout.header
            more = yield ByteRange(len(head), len(head) + HEADER_BYTES)
            if not more:
                break
            head += more
        with translated(url, self.name, len(head)):
            raise ValueError("no frame header is in it")

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the pixels: grey, RGB, or CMYK as Pillow gives it.

        Raises
        ------
        CodecError
            The file is cut short or damaged, or its header disagrees with `request`.
        MissingExtraError
            12 bits per sample need imagecodecs.
        """
        view = memoryview(data)
        with translated(request.url, self.name, len(data)):
            layout = _layout(view)
            if layout is None:
                raise ValueError("it is cut short before its frame header")
        check_size(layout.header, request)
        fit_header(layout.header, request)
        with translated(request.url, self.name, len(data)):
            array = _decoded(_stripped(view), layout, request.url)
            if (array.shape, array.dtype) != (layout.header.shape, layout.header.dtype):
                raise ValueError(f"it was decoded to {array.shape} of {array.dtype}, its header says {layout.header}")
        return array, layout.header.dims


def _segment(data: memoryview, at: int) -> tuple[int, int, int] | None:
    """Return marker, start and stop of the segment at byte `at`; None where `data` ends before its stop."""
    while bytes(data[at : at + 2]) == b"\xff\xff":
        at += 1  # fill bytes, B.1.1.2
    if at + 4 > len(data):
        if bytes(data[at : at + 2]) == bytes((0xFF, _EOI)):
            return _EOI, at, at + 2
        return None
    if data[at] != 0xFF:  # noqa: PLR2004
        raise ValueError(f"a marker is expected at byte {at:,}, not {bytes(data[at : at + 2])!r}")
    marker = data[at + 1]
    if marker == _EOI:
        return marker, at, at + 2
    stop = at + 2 + int.from_bytes(data[at + 2 : at + 4])
    return None if stop > len(data) else (marker, at, stop)


def _layout(data: memoryview) -> JpegLayout | None:
    """Return what the frame header says; None where `data` ends before it; an exception where it is not sound."""
    if bytes(data[:3]) != _MAGIC:
        raise ValueError(f"it does not start with {_MAGIC!r}")
    at = 2
    while (segment := _segment(data, at)) is not None:
        marker, start, at = segment
        if marker in _FRAMES:
            return _frame(data[start:at])
        if marker in (_SOS, _EOI):
            raise ValueError("no frame header is in it")
    return None


def _frame(segment: memoryview) -> JpegLayout:
    if len(segment) < 10:  # noqa: PLR2004  (marker, length, P, Y, X, Nf)
        raise ValueError("its frame header is cut short")
    depth, samples = segment[4], segment[9]
    height, width = int.from_bytes(segment[5:7]), int.from_bytes(segment[7:9])
    if depth not in (8, 12) or samples not in (1, 3, 4) or not height or not width:
        raise ValueError(f"its frame header states {height} x {width} pixels, {samples} samples of {depth} bits")
    return JpegLayout(height, width, samples, depth)


def _stripped(data: memoryview) -> bytes:
    """Return the file from SOI to EOI without EXIF, profiles, further pictures and comments.

    They do not change pixels here, but can make a decoder fail or warn.

    Raises
    ------
    ValueError
        EOI is missing: the file is cut short. libjpeg would fill the rest with grey.
    """
    kept, at = [data[:2]], 2
    while (segment := _segment(data, at)) is not None:
        marker, start, stop = segment
        if marker == _SOS:
            found = _MARKER_IN_SCAN.search(data, stop)
            stop = len(data) if found is None else found.end() - 2
        if marker not in _DROPPED:
            kept.append(data[start:stop])
        if marker == _EOI:
            return b"".join(kept)
        at = stop
    raise ValueError("it is cut short: the end-of-image marker is missing")


def _decoded(data: bytes, layout: JpegLayout, url: str) -> Array:
    if layout.depth != 8:  # noqa: PLR2004
        return _decoded_by_imagecodecs(data, url)
    # The plugin is called directly: no global pixel limit of Pillow, no further pictures of an MPO file.
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(BytesIO(data)) as image:
        array: Array = np.asarray(image)
    return array


def _decoded_by_imagecodecs(data: bytes, url: str) -> Array:
    try:
        import imagecodecs
    except ImportError as error:
        raise missing_extra(url, "JPEG of 12 bits per sample") from error
    decoder: Any = imagecodecs.jpeg_decode
    array: Array = decoder(data)
    return array
