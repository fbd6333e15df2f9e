"""TIFF tiles: dtypes, layouts, compressions, values as stored; the oracles are the arrays written and imread."""

import io

import numpy as np
import pytest
import tifffile
from tilefiles import (
    LONG,
    SHORT,
    YX,
    pixels,
    plain_tiff,
    read_header,
    request,
    strips_at,
    tiff_by_hand,
    tiff_bytes,
)

from slicedfs.codecs import TileHeader, decode
from slicedfs.ranges import ByteRange

FIRST = ByteRange(0, 16384)
LAYOUTS = {
    "one strip": {},
    "big-endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "big-endian BigTIFF": {"bigtiff": True, "byteorder": ">"},
    "strips, the last one short": {"rowsperstrip": 16},
    "a strip a row": {"rowsperstrip": 1},
    "tiles, cut at the edges": {"tile": (16, 16)},
    "deflate": {"compression": "zlib"},
    "deflate, big-endian": {"compression": "zlib", "byteorder": ">", "rowsperstrip": 7},
    "no description": {"metadata": None},
}


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"])
def test_every_dtype_and_layout_comes_back(dtype, options):
    """A plane written by tifffile is read bit for bit, in native byte order, and one range tells its header."""
    array = pixels(37, 53, dtype=dtype)
    data = tiff_bytes(array, **options)
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)
    assert read_header(data, request()) == (TileHeader((37, 53), ("y", "x"), array.dtype), [FIRST])


COMPRESSED = {
    "lzw": ("u2", {"compression": "lzw"}),
    "lzw, predictor": ("u2", {"compression": "lzw", "predictor": 2}),
    "deflate, predictor, big-endian": ("u2", {"compression": "zlib", "predictor": 2, "byteorder": ">"}),
    "zstd, tiles": ("u2", {"compression": "zstd", "tile": (16, 16)}),
    "zstd, predictor, BigTIFF": ("u4", {"compression": "zstd", "predictor": 2, "bigtiff": True}),
    "float predictor": ("f4", {"compression": "zlib", "predictor": 3, "rowsperstrip": 10}),
    "packbits": ("u1", {"compression": "packbits"}),
    "lzma": ("u2", {"compression": "lzma"}),
    "lerc": ("f4", {"compression": "lerc"}),
    "png": ("u2", {"compression": "png"}),
    "jpegxl": ("u2", {"compression": "jpegxl", "compressionargs": {"lossless": True}}),
    "jpeg2000": ("u2", {"compression": "jpeg2000", "compressionargs": {"level": 0}}),
}


@pytest.mark.parametrize(("dtype", "options"), COMPRESSED.values(), ids=COMPRESSED)
def test_lossless_compressions_come_back(dtype, options):
    """Every lossless compression and predictor gives the array written."""
    array = pixels(40, 50, dtype=dtype)
    data = tiff_bytes(array, **options)
    np.testing.assert_array_equal(decode(data, request(YX)), array, strict=True)
    assert read_header(data, request(YX))[0] == TileHeader((40, 50), ("y", "x"), array.dtype)


def test_jpeg_inside_of_tiff_is_rgb():
    """YCbCr in JPEG strips is converted to RGB, as tifffile does."""
    y, x = np.mgrid[:64, :80]
    array = np.stack([y * 3, x * 2, y + x], -1).astype(np.uint8)
    data = tiff_bytes(array, compression="jpeg", photometric="rgb")
    got = decode(data, request())
    np.testing.assert_array_equal(got, tifffile.imread(io.BytesIO(data)), strict=True)
    assert np.median(np.abs(got.astype(int) - array)) < 5


def test_one_run_of_bytes_is_a_view():
    """Uncompressed pixels in native byte order are not copied, and cannot be written to."""
    for array in (pixels(40, 50), pixels(5, 40, 50)):
        data = tiff_bytes(array)
        got = decode(data, request())
        assert np.shares_memory(got, np.frombuffer(data, np.uint8))
        assert not got.flags.writeable


def test_any_kind_of_bytes_is_read():
    """Bytes, bytearrays and memoryviews give the same array."""
    array = pixels(40, 50)
    for data in (tiff_bytes(array), tiff_bytes(array, compression="lzw")):
        for kind in (bytes, bytearray, memoryview):
            np.testing.assert_array_equal(decode(kind(data), request()), array, strict=True)


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_a_header_needs_no_pixels(options):
    """The header of a file whose pixels are cut off behind the first 16 KiB is that of the whole file."""
    data = tiff_bytes(pixels(300, 200), **options)
    assert read_header(data[:16384] + bytes(16), request()) == read_header(data, request())


TWENTY = np.arange(20, dtype=np.uint8).reshape(4, 5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_not_applied(orientation):
    """The pixels come in the order stored, whatever the tag says."""
    np.testing.assert_array_equal(decode(plain_tiff(orientation=orientation), request()), TWENTY, strict=True)


def test_inversion_is_not_applied():
    """WhiteIsZero leaves the values as stored."""
    np.testing.assert_array_equal(decode(plain_tiff(photometric=0), request()), TWENTY, strict=True)


def test_palettes_are_not_applied():
    """A palette picture gives its indices."""
    indices = pixels(40, 50, dtype=np.uint8)
    palette = pixels(3, 256, dtype=np.uint16)
    data = tiff_bytes(indices, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(decode(data, request()), indices, strict=True)


def test_twelve_bits_are_unpacked():
    """Samples of 12 bits become uint16, not scaled."""
    array = pixels(40, 50) >> 4
    np.testing.assert_array_equal(decode(_twelve_bits(array), request()), array, strict=True)


def _twelve_bits(array):
    bits = np.unpackbits(array.astype(">u2").view(np.uint8).reshape(*array.shape, 2), axis=-1)[..., 4:]
    strip = np.packbits(bits.reshape(len(array), -1), axis=-1).tobytes()
    tags = [(256, LONG, 50), (257, LONG, 40), (258, SHORT, 12), (259, SHORT, 1), (262, SHORT, 1), (277, SHORT, 1)]
    tags += [(273, LONG, strips_at(9)), (278, LONG, 40), (279, LONG, len(strip))]
    return tiff_by_hand(tags, strip)
