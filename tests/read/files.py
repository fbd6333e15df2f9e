"""Tile files as microscopes, acquisition programs and libraries write them. Nothing of slicedfs."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tilefiles import npy_bytes, tiff_bytes, tiff_pages

__all__ = ["PLANES", "STACKS", "opencv_stack", "planes", "stacks", "strips_touched"]

Array = NDArray[Any]


def planes(count: int, size: int = 2048) -> list[Array]:
    """Give (y, x) pictures of uint16 that compress as microscope images do, by a third or so."""
    noise = np.random.default_rng(7).integers(0, 256, (size, size), dtype=np.uint16)
    ramp = np.arange(size, dtype=np.uint16) * 3
    return [noise + ramp + ramp[:, None] + 1000 * number for number in range(count)]


def stacks(count: int, shape: tuple[int, int, int] = (20, 512, 512)) -> list[Array]:
    """Give (z, y, x) pictures of the same kind."""
    flat = planes(1, shape[1])[0]
    return [np.stack([np.roll(flat, 31 * z + number, 0) + z for z in range(shape[0])]) for number in range(count)]


def tiff(**options: Any) -> Callable[[Array], bytes]:
    """Give a writer by tifffile."""
    return lambda array: tiff_bytes(array, **options)


def pillow(**options: Any) -> Callable[[Array], bytes]:
    """Give a writer by Pillow, of one picture or a stack of them."""

    def write(array: Array) -> bytes:
        file = io.BytesIO()
        first, *others = [Image.fromarray(plane) for plane in array.reshape(-1, *array.shape[-2:])]
        more: dict[str, Any] = {"save_all": True, "append_images": others} if others else {}
        first.save(file, "TIFF", **more, **options)
        return file.getvalue()

    return write


def opencv(array: Array) -> bytes:
    """Write as OpenCV does, by libtiff: LZW with a predictor, strips of 2 rows, the directory at the end."""
    import imagecodecs

    return bytes(imagecodecs.tiff_encode(array, compression="lzw", predictor=True, rowsperstrip=2))


def opencv_stack(array: Array, rows: int = 2) -> bytes:
    """Write a raw stack as libtiff does: page after page, each its strips of `rows` rows and then its directory."""
    _, height, width = array.shape
    n_strips, strip = height // rows, rows * width * 2
    out, link = bytearray(b"II*\0\0\0\0\0"), 4
    for page in array:
        data = len(out)
        out += page.astype("<u2").tobytes()
        tables = len(out)
        out += struct.pack(f"<{n_strips}I", *(data + i * strip for i in range(n_strips)))
        out += struct.pack(f"<{n_strips}I", *[strip] * n_strips)
        out[link : link + 4] = struct.pack("<I", len(out))
        short, long = 3, 4
        entries = [
            (256, long, 1, width), (257, long, 1, height), (258, short, 1, 16), (259, short, 1, 1),
            (262, short, 1, 1), (273, long, n_strips, tables), (277, short, 1, 1), (278, long, 1, rows),
            (279, long, n_strips, tables + 4 * n_strips), (284, short, 1, 1),
        ]  # fmt: skip
        out += struct.pack("<H", len(entries))
        for tag, type_, number, value in entries:
            out += struct.pack("<HHII", tag, type_, number, value)
        link = len(out)
        out += bytes(4)
    return bytes(out)


PLANES: dict[str, Callable[[Array], bytes]] = {
    "npy": npy_bytes,
    "tifffile": tiff(),
    "tifffile-plain": tiff(metadata=None),
    "imagej": tiff(imagej=True),
    "ome": tiff(ome=True),
    "pillow": pillow(),
    "big-endian": tiff(byteorder=">"),
    "bigtiff": tiff(bigtiff=True),
    "raw-strips": tiff(rowsperstrip=64),
    "raw-rows": tiff(rowsperstrip=1),
    "zstd-strips": tiff(compression="zstd", predictor=True),
    "deflate-tiles": tiff(compression="zlib", predictor=True, tile=(256, 256)),
    "opencv": opencv,
    "pillow-lzw": pillow(compression="tiff_lzw"),
}
"""How a picture is written -> its writer: the rows of formats that there are, of single pictures."""

STACKS: dict[str, Callable[[Array], bytes]] = {
    "npy": npy_bytes,
    "contiguous": tiff(photometric="minisblack"),
    "imagej": tiff(imagej=True),
    "zstd-strips": tiff(compression="zstd", predictor=True, photometric="minisblack"),
    "pagewise": lambda array: tiff_pages(array, contiguous=False, metadata=None),
    "opencv": opencv_stack,
    "pillow": pillow(),
}
"""The same of stacks."""


def strips_touched(data: bytes, rows: range, columns: range, page: int = 0) -> int:
    """Give the bytes of the strips or tiles that a window touches, by tifffile."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[page].aspage()
        high, wide = found.chunks[-2:]
        across = -(-found.imagewidth // wide)
        touched = {
            (y // high) * across + x // wide
            for y in (rows[0], rows[-1], *rows)
            for x in (columns[0], columns[-1], *columns)
        }
        return sum(found.databytecounts[i] for i in touched)
