"""Damaged files of every format: only errors of slicedfs come out, or pixels of the shape and dtype of the header."""

import random

import imagecodecs
import numpy as np
import pytest
from tilefiles import npy_bytes, pillow_bytes, pixels, read_header, request, tiff_bytes, tiff_pages

from slicedfs.codecs import TileHeader, decode
from slicedfs.errors import CodecError, MissingExtraError

PLANE, STACK = pixels(40, 50), pixels(5, 40, 50)
GREY, COLOUR, FLOATS = pixels(40, 50, dtype="u1"), pixels(40, 50, 3, dtype="u1"), pixels(40, 50, dtype="f4")
FILES = {
    "NUMPY": [npy_bytes(PLANE), npy_bytes(np.asfortranarray(STACK)), npy_bytes(COLOUR)],
    "TIFF": [
        tiff_bytes(PLANE),
        tiff_bytes(STACK),
        tiff_bytes(STACK, imagej=True),
        tiff_bytes(STACK, ome=True),
        tiff_pages(STACK),
        tiff_bytes(PLANE, compression="zlib", predictor=2),
        tiff_bytes(PLANE, compression="lzw", rowsperstrip=7),
        tiff_bytes(STACK, compression="zstd", tile=(16, 16)),
        tiff_bytes(PLANE, bigtiff=True, byteorder=">"),
        tiff_bytes(COLOUR, compression="jpeg"),
        tiff_bytes(FLOATS, compression="zlib", predictor=3),
        tiff_bytes(GREY, compression="packbits"),
        pillow_bytes(COLOUR, "TIFF", compression="tiff_lzw"),
    ],
    "PNG": [
        imagecodecs.png_encode(PLANE),
        imagecodecs.png_encode(COLOUR),
        imagecodecs.png_encode(COLOUR.astype(np.uint16) * 257),
        pillow_bytes(GREY, "PNG", mode="1"),
        pillow_bytes(COLOUR, "PNG", mode="P"),
    ],
    "JPEG": [
        pillow_bytes(COLOUR, "JPEG"),
        pillow_bytes(GREY, "JPEG", progressive=True),
        pillow_bytes(COLOUR, "JPEG", mode="CMYK"),
    ],
    "JPEG2000": [imagecodecs.jpeg2k_encode(PLANE, level=0)],
    "WEBP": [imagecodecs.webp_encode(COLOUR, level=80)],
    "JPEGXL": [imagecodecs.jpegxl_encode(GREY, level=80)],
    "AVIF": [imagecodecs.avif_encode(COLOUR, level=80)],
}
MUTATIONS = 330  # for each format
MAX_BYTES = 1 << 22


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with flipped bits, a block of zeros or ones, another byte, or cut; mostly near its start."""
    changed = bytearray(data)
    reach = min(len(changed), 600) if rng.random() < 0.6 else len(changed)
    at, n = rng.randrange(reach), rng.choice((1, 2, 4, 8, 16, 64))
    kind = rng.choice(("flip", "cut", "block", "byte"))
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            changed[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[rng.randrange(len(changed)) :]
    elif kind == "block":
        changed[at : at + n] = bytes([rng.choice((0, 1, 127, 255))]) * len(changed[at : at + n])
    else:
        changed[at] = rng.randrange(256)
    return bytes(changed)


def attempt(door, data: bytes, wanted):
    """Return what `door` gives, or the text of its error; what is no error of slicedfs fails the test."""
    try:
        return door(data, wanted)
    except (CodecError, MissingExtraError) as error:
        return str(error)


@pytest.mark.parametrize("format_", FILES)
def test_damaged_files_raise_errors_of_slicedfs_only(format_):
    """Of each damaged file, stated or not: an error with its URL, or an array as its header says; nothing else."""
    rng = random.Random(format_)
    errors = arrays = 0
    for i in range(MUTATIONS):
        sound = FILES[format_][i % len(FILES[format_])]
        original, _ = read_header(sound, request())
        stated = {dim: n for dim, n in zip(original.dims, original.shape, strict=True) if dim != "s"}
        data = mutated(sound, rng)
        for shape in (None, stated):
            wanted = request(shape, format=format_, max_bytes=MAX_BYTES)
            array = attempt(decode, data, wanted)
            probed = attempt(read_header, data, wanted)
            if isinstance(array, str):
                assert array.startswith("https://x/t.tif: ")
                errors += 1
                continue
            arrays += 1
            assert array.nbytes <= MAX_BYTES
            assert array.dtype.isnative
            if not isinstance(probed, str):
                assert (probed[0].shape, probed[0].dtype) == (array.shape, array.dtype)
            if shape is not None:
                assert array.shape[: len(shape)] == tuple(shape.values())
    assert errors > MUTATIONS / 4, "too few mutations do damage"
    assert errors + arrays == 2 * MUTATIONS


def test_the_files_are_sound():
    """Before they are damaged all files are read, and their headers tell the shape and dtype of their pixels."""
    for format_, files in FILES.items():
        for data in files:
            array = decode(data, request(format=format_))
            header, _ = read_header(data, request())
            assert header == TileHeader(array.shape, header.dims, array.dtype)
            assert array.shape in ((40, 50), (5, 40, 50), (40, 50, 3), (40, 50, 4))


@pytest.mark.parametrize("format_", ["PNG", "NUMPY"])
def test_no_truncated_file_is_read(format_):
    """Cut at any place, PNG and NUMPY files are never pixels."""
    for data in FILES[format_]:
        for stop in [*range(0, len(data), 53), len(data) - 1]:
            with pytest.raises(CodecError, match=r"^https://x/t\.tif: "):
                decode(data[:stop], request(format=format_))


def test_every_flipped_bit_of_a_png_is_found():
    """A single flipped bit anywhere in the chunks that carry pixels is an error."""
    rng = random.Random(1)
    for data in FILES["PNG"]:
        for _ in range(40):
            at = rng.randrange(8, len(data) - 12)
            damaged = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
            with pytest.raises(CodecError, match=r"cannot be read as PNG"):
                decode(damaged, request())
