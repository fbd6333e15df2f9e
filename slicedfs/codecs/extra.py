"""JPEG2000, WEBP, JPEGXL and AVIF, one still picture each, all through imagecodecs. Pure.

Only the size is read here, so that it is bounded before anything is decoded. Formats: JPEG 2000: ITU-T T.800, A.5.1
(SIZ); WebP: RFC 9649, 2.5 to 2.7; JPEG XL: ISO/IEC 18181-1, D.2 (SizeHeader); AVIF: ISO/IEC 23008-12, 6.5.3 (ispe).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from slicedfs.codecs.fit import fit_header
from slicedfs.codecs.guard import check_size, missing_extra, translated
from slicedfs.codecs.tile import Array, Bytes, Codec, TileHeader, TileRequest
from slicedfs.ranges import WHOLE, ByteRange

__all__ = ["EXTRA_CODECS"]

Size = tuple[int, int]
"""(height, width)."""

_SIZ = b"\xff\x4f\xff\x51"
_JXL_STREAM = b"\xff\x0a"
_JXL_BITS = (9, 13, 18, 30)
_JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width : height, selected by 1..7
_SAMPLES = range(1, 5)


def _jpeg2000_size(data: bytes) -> Size:
    at = data.index(_SIZ)
    right, bottom, left, top = (int.from_bytes(data[i : i + 4]) for i in range(at + 8, at + 24, 4))
    if data.rfind(b"\xff\xd9") < at:  # packets cannot contain it
        raise ValueError("it is cut short: the end-of-codestream marker is missing")
    return bottom - top, right - left


def _webp_size(data: bytes) -> Size:
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ValueError("it is cut short: its RIFF header claims more bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[27:30], "little") + 1, int.from_bytes(data[24:27], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[28:30], "little") & 0x3FFF, int.from_bytes(data[26:28], "little") & 0x3FFF
    raise ValueError(f"its first chunk is {kind!r}")


def _jpegxl_size(data: bytes) -> Size:
    at = 2
    if not data.startswith(_JXL_STREAM):
        at = min(i for box in (b"jxlc", b"jxlp") if (i := data.find(box)) >= 0)  # an error where there is none
        at = data.index(_JXL_STREAM, at) + 2
    bits = _Bits(int.from_bytes(data[at : at + 12], "little"))
    small = bits.take(1)
    height = _jpegxl_side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return height, _jpegxl_side(bits, small)
    across, down = _JXL_RATIOS[ratio - 1]
    return height, height * across // down


def _jpegxl_side(bits: "_Bits", small: int) -> int:
    return (bits.take(5) + 1) * 8 if small else bits.take(_JXL_BITS[bits.take(2)]) + 1


class _Bits:
    """Bits of a number, the lowest first."""

    def __init__(self, number: int) -> None:
        self._number = number

    def take(self, n: int) -> int:
        value = self._number & ((1 << n) - 1)
        self._number >>= n
        return value


def _avif_size(data: bytes) -> Size:
    """Return the size of the largest picture: a grid's parts and thumbnails have sizes too."""
    sizes, at = [], data.find(b"ispe")
    while at >= 0:
        sizes.append((int.from_bytes(data[at + 12 : at + 16]), int.from_bytes(data[at + 8 : at + 12])))
        at = data.find(b"ispe", at + 4)
    return max(sizes, key=lambda size: size[0] * size[1])


@dataclass(frozen=True, slots=True)
class _ImagecodecsCodec:
    """A format that imagecodecs decodes."""

    name: str
    """The format's name in documents."""
    extensions: tuple[str, ...]
    """Extensions of its files."""
    magics: tuple[tuple[int, bytes], ...]
    """(position, bytes), one of which a file has."""
    size: Callable[[bytes], Size]
    """Gives the size that a file declares; any exception where it is damaged."""
    decoder: str
    """Name of imagecodecs' function."""
    options: tuple[tuple[str, Any], ...] = ()
    """Keyword arguments of it."""

    def matches(self, head: bytes) -> bool:
        """Return whether `head` starts a file of this format."""
        return any(head[at : at + len(magic)] == magic for at, magic in self.magics)

    def probe(self, url: str) -> Generator[ByteRange, bytes, TileHeader]:
        """Read the whole file, and decode it: its dtype and samples are known only then.

        Raises
        ------
        CodecError
            The file is damaged.
        MissingExtraError
            imagecodecs is not installed.
        """
        data = yield WHOLE
        array, dims = self.decode(data, TileRequest(url))
        return TileHeader(array.shape, dims, array.dtype)

    def decode(self, data: Bytes, request: TileRequest) -> tuple[Array, tuple[str, ...]]:
        """Return the pixels; orientation is not applied.

        Raises
        ------
        CodecError
            The file is damaged, holds an animation, or disagrees with `request`.
        MissingExtraError
            imagecodecs is not installed.
        """
        try:
            import imagecodecs
        except ImportError as error:
            raise missing_extra(request.url, f"the format {self.name}") from error
        with translated(request.url, self.name, len(data)):
            data = bytes(data)
            if not self.matches(data):
                raise ValueError(f"its first bytes are {data[:12]!r}")
            size = self.size(data)
            least = TileHeader(size, ("y", "x"), np.dtype(np.uint8))  # samples and dtype are not known yet
            check_size(least, request)
            if request.shape is not None and "s" not in request.shape:
                fit_header(least, request)
            array: Array = getattr(imagecodecs, self.decoder)(data, **dict(self.options))
            if array.ndim not in (2, 3) or array.shape[:2] != size or array.shape[2:] > (_SAMPLES[-1],):
                raise ValueError(f"it was decoded to the shape {array.shape}, its header says {size}")
        return array, ("y", "x", "s")[: array.ndim]


EXTRA_CODECS: tuple[Codec, ...] = (
    _ImagecodecsCodec(
        "JPEG2000",
        (".jp2", ".j2k", ".jpx", ".j2c", ".jpc"),
        ((0, b"\0\0\0\x0cjP  \r\n\x87\n"), (0, _SIZ)),
        _jpeg2000_size,
        "jpeg2k_decode",
        (("numthreads", 1),),
    ),
    _ImagecodecsCodec("WEBP", (".webp",), ((8, b"WEBP"),), _webp_size, "webp_decode"),
    _ImagecodecsCodec(
        "JPEGXL",
        (".jxl",),
        ((0, _JXL_STREAM), (0, b"\0\0\0\x0cJXL \r\n\x87\n")),
        _jpegxl_size,
        "jpegxl_decode",
        (("numthreads", 1), ("keeporientation", True)),
    ),
    _ImagecodecsCodec(
        "AVIF",
        (".avif",),
        ((4, b"ftypavif"), (4, b"ftypavis")),
        _avif_size,
        "avif_decode",
        (("numthreads", 1),),
    ),
)
