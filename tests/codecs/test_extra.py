"""JPEG2000, WEBP, JPEGXL and AVIF; the oracles are the arrays that imagecodecs was given."""

import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
from tilefiles import pixels, read_header, request

from slicedfs.codecs import TileHeader, decode
from slicedfs.errors import CodecError
from slicedfs.ranges import WHOLE, ByteRange


def jpeg2000(array):
    return imagecodecs.jpeg2k_encode(array, level=0)


def jpeg2000_stream(array):
    return imagecodecs.jpeg2k_encode(array, level=0, codecformat="j2k")


def webp(array):
    return imagecodecs.webp_encode(array, lossless=True)


def jpegxl(array):
    return imagecodecs.jpegxl_encode(array, lossless=True)


def jpegxl_container(array):
    return imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=True)


def avif(array):
    return imagecodecs.avif_encode(array)


FILES = [
    *((write, "u1", shape) for write in (jpeg2000, jpegxl) for shape in ((40, 50), (41, 53, 3), (40, 50, 4))),
    *((write, "u2", shape) for write in (jpeg2000, jpegxl) for shape in ((40, 50), (41, 53, 3))),
    *((webp, "u1", shape) for shape in ((41, 53, 3), (40, 50, 4))),
    *((avif, "u1", shape) for shape in ((40, 50), (41, 53, 3))),
    *((jpegxl, "u1", shape) for shape in ((8, 256), (256, 256), (300, 400), (1000, 1500), (2, 9000))),
    *((jpegxl_container, "u1", (40, 50)), (jpeg2000_stream, "u1", (40, 50))),
]


@pytest.mark.parametrize(("write", "dtype", "shape"), FILES)
def test_lossless_pictures_come_back(write, dtype, shape):
    """A picture written without loss is read bit for bit; its header costs the whole file."""
    array = pixels(*shape, dtype=dtype)
    if shape[0] * shape[1] > 100_000:
        array = array // 128  # to be fast
    if array.shape[2:] == (4,):
        array[..., 3] |= 1  # WebP may change the colour of pixels that are transparent
    data = write(array)
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)
    header, asked = read_header(data, request({"y": shape[0], "x": shape[1]}))
    assert header == TileHeader(shape, ("y", "x", "s")[: len(shape)], np.dtype(dtype))
    assert asked == ([ByteRange(0, 16384)] if len(data) < 16384 else [ByteRange(0, 16384), WHOLE])


def test_lossy_webp_is_read():
    """A lossy WebP, whose size stands elsewhere than that of a lossless one, is near the original."""
    y, x = np.mgrid[:64, :80]
    array = np.stack([y * 3, x * 2, y + x], -1).astype(np.uint8)
    got = decode(imagecodecs.webp_encode(array, level=95, lossless=False), request({"y": 64, "x": 80}))
    assert got.shape == (64, 80, 3)
    assert np.median(np.abs(got.astype(int) - array)) < 8


CUT = {
    jpeg2000: r"JPEG2000 .*: (it is cut short: the end-of-codestream marker is missing|subsection not found)",
    jpeg2000_stream: r"JPEG2000 .*: it is cut short: the end-of-codestream marker is missing",
    webp: r"WEBP .*: it is cut short: its RIFF header claims more bytes",
    jpegxl: r"JPEGXL",
    jpegxl_container: r"JPEGXL",
    avif: r"AVIF",
}


@pytest.mark.parametrize(("write", "message"), CUT.items())
def test_truncation_is_an_error(write, message):
    """No prefix of a file is read as pixels."""
    data = write(pixels(40, 50, 3, dtype="u1"))
    for stop in [*range(16, len(data), 211), len(data) - 1]:
        with pytest.raises(CodecError, match=r"cannot be read as " + message):
            decode(data[:stop], request())


def test_contradictions_are_found():
    """A picture of another shape than stated is an error that shows both."""
    for write in (jpeg2000, webp, jpegxl, avif):
        with pytest.raises(
            CodecError, match=r"has shape \(40, 50\) \(y, x\), but the document states \(50, 40\); it looks transposed"
        ):
            decode(write(pixels(40, 50, 3, dtype="u1")), request({"y": 50, "x": 40}))


def test_declared_bombs_are_refused_before_allocation():
    """A header that claims 65500 x 65500 pixels costs no memory."""
    data = bytearray(jpeg2000(pixels(40, 50)))
    at = data.index(b"\xff\x4f\xff\x51") + 8
    data[at : at + 8] = struct.pack(">II", 65500, 65500)
    avif_data = bytearray(avif(pixels(40, 50, 3, dtype="u1")))
    at = avif_data.index(b"ispe") + 8
    avif_data[at : at + 8] = struct.pack(">II", 65500, 65500)
    for bomb in (bytes(data), bytes(avif_data)):
        tracemalloc.start()
        try:
            with pytest.raises(CodecError, match=r"declares 4,290,250,000 bytes of pixels"):
                decode(bomb, request())
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


def test_animations_are_refused():
    """A file of several pictures is not one tile."""
    data = imagecodecs.jpegxl_encode(pixels(4, 40, 50, 3, dtype="u1"), lossless=True)
    with pytest.raises(CodecError, match=r"cannot be read as JPEGXL .*: it was decoded to the shape \(4, 40, 50, 3\)"):
        decode(data, request())
