"""Tile files for tests: written by other libraries, or byte by byte, so that expected values come from elsewhere."""

import io
import struct
import zlib
from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from slicedfs.codecs import TileHeader, TileRequest, probe
from slicedfs.ranges import ByteRange

T = TypeVar("T")

URL = "https://x/t.tif"

YX = {"y": 40, "x": 50}


def request(shape: dict[str, int] | None = None, **options: Any) -> TileRequest:
    """Return the request of a tile at `URL`."""
    return TileRequest(URL, shape=shape, **options)


def driven(steps: Generator[ByteRange, bytes, T], data: bytes) -> tuple[T, list[ByteRange]]:
    """Feed `steps` from the bytes of a file; return what they give, and the ranges that were asked for."""
    asked: list[ByteRange] = []
    try:
        range_ = next(steps)
        while True:
            asked.append(range_)
            range_ = steps.send(data[range_.start : range_.stop])
    except StopIteration as done:
        return done.value, asked


def read_header(data: bytes, wanted: TileRequest) -> tuple[TileHeader, list[ByteRange]]:
    """Run :func:`probe` on a file; return the header, and the ranges that were asked for."""
    return driven(probe(wanted), data)


def pixels(*shape: int, dtype: Any = np.uint16) -> np.ndarray:
    """Return values that differ everywhere, use all bytes of `dtype`, and look like no other shape's."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(sum(shape))
    if dtype.kind in "fc":
        return (rng.random(shape) * 1000 - 500).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) > 0.5
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype.newbyteorder("="), endpoint=True).astype(dtype)


def npy_bytes(array: np.ndarray) -> bytes:
    """Return what numpy.save writes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff_bytes(array: np.ndarray, **options: Any) -> bytes:
    """Return what tifffile.imwrite writes."""
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def tiff_pages(pages: Iterable[np.ndarray], **options: Any) -> bytes:
    """Return a TIFF file written page by page, each page with a description of its own."""
    import tifffile

    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, **options)
    return file.getvalue()


def pillow_bytes(array: np.ndarray, format_: str, mode: str | None = None, **options: Any) -> bytes:
    """Return what Pillow writes, after conversion to `mode`."""
    from PIL import Image

    file = io.BytesIO()
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(file, format_, **options)
    return file.getvalue()


def npy_by_hand(header: str, payload: bytes = b"", version: int = 1) -> bytes:
    """Return an NPY file with exactly this header."""
    text = header.encode("utf-8" if version == 3 else "latin-1")
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + payload


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk with a right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def ihdr(height: int, width: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    """Return an IHDR chunk."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_scanlines(samples: np.ndarray, depth: int) -> bytes:
    """Return the scanlines of `samples`, (y, x) or (y, x, s), each with filter 0."""
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    flat = samples.reshape(len(samples), -1).astype(np.uint8)
    bits = np.unpackbits(flat[..., None], axis=-1)[..., 8 - depth :]
    return b"".join(b"\0" + np.packbits(row.ravel()).tobytes() for row in bits)


def png_by_hand(
    samples: np.ndarray,
    depth: int,
    colour: int,
    *,
    interlaced: bool = False,
    extra: bytes = b"",
    height: int | None = None,
) -> bytes:
    """Return a PNG file of raw `samples`; `extra` chunks go before the pixels; `height` may lie."""
    parts = [samples[y::sy, x::sx] for y, x, sy, sx in ADAM7] if interlaced else [samples]
    lines = b"".join(png_scanlines(part, depth) for part in parts if part.size)
    header = ihdr(height or samples.shape[0], samples.shape[1], depth, colour, int(interlaced))
    body = png_chunk(b"IDAT", zlib.compress(lines))
    return PNG_MAGIC + header + extra + body + png_chunk(b"IEND", b"")


SHORT, LONG = 3, 4


def tiff_by_hand(entries: Sequence[tuple[int, int, int]], strips: bytes = b"", next_ifd: int = 0) -> bytes:
    """Return a little-endian TIFF file of one directory at byte 8; entries are (tag, type, value).

    Bytes from `strips_at(len(entries))` on are `strips`.
    """
    ifd = struct.pack("<H", len(entries))
    for tag, type_, value in sorted(entries):
        ifd += struct.pack(
            "<HHIHH" if type_ == SHORT else "<HHII", tag, type_, 1, *((value, 0) if type_ == SHORT else (value,))
        )
    return b"II*\0" + struct.pack("<I", 8) + ifd + struct.pack("<I", next_ifd) + strips


def strips_at(n_entries: int) -> int:
    """Return the first byte behind the directory of :func:`tiff_by_hand`."""
    return 8 + 2 + 12 * n_entries + 4


def plain_tiff(**changes: int | None) -> bytes:
    """Return an uncompressed TIFF file of 4 x 5 uint8 pixels 0..19; `changes` replace values of tags, None drops one.

    Keys: width, height, bits, compression, photometric, offset, samples, rows, count, predictor, orientation.
    """
    tags = {
        "width": (256, LONG, 5),
        "height": (257, LONG, 4),
        "bits": (258, SHORT, 8),
        "compression": (259, SHORT, 1),
        "photometric": (262, SHORT, 1),
        "offset": (273, LONG, None),
        "orientation": (274, SHORT, 1),
        "samples": (277, SHORT, 1),
        "rows": (278, LONG, 4),
        "count": (279, LONG, 20),
        "predictor": (317, SHORT, 1),
    }
    kept = {key: tag for key, tag in tags.items() if changes.get(key, 0) is not None}
    entries = [(code, type_, changes.get(key, value)) for key, (code, type_, value) in kept.items()]
    start = strips_at(len(entries))
    filled = [(code, type_, start if value is None else value) for code, type_, value in entries]
    return tiff_by_hand(filled, bytes(range(20)))
