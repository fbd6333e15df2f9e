"""TIFF tiles: which ranges a header costs; the oracles are the arrays written, and the places of their directories."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
from tilefiles import (
    pillow_bytes,
    pixels,
    plain_tiff,
    read_header,
    request,
    tiff_bytes,
)

from slicedfs.codecs import TileHeader, decode, probe
from slicedfs.errors import CodecError
from slicedfs.ranges import ByteRange

FIRST = ByteRange(0, 16384)
STACK = pixels(5, 40, 50)


def test_a_directory_at_the_end_costs_a_second_range():
    """A directory behind the pixels, where libtiff writes it, comes with the second range, of at most 16 KiB."""
    array = pixels(200, 300, dtype=np.uint8)
    data = pillow_bytes(array, "TIFF", compression="tiff_lzw")
    (at,) = struct.unpack("<I", data[4:8])
    assert at > 16384
    header, asked = read_header(data, request())
    assert header == TileHeader((200, 300), ("y", "x"), np.dtype(np.uint8))
    assert asked == [FIRST, ByteRange(at, at + 16384)]
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)


@pytest.mark.parametrize(
    "options",
    [
        {"ome": True},
        {"rowsperstrip": 1},
        {"tile": (16, 16), "compression": "zlib"},
        {"description": "x" * 100_000, "metadata": None},
    ],
    ids=["OME", "a strip a row", "tiles", "long description"],
)
def test_values_that_do_not_decide_on_the_shape_are_not_read(options):
    """Tables of strips and descriptions behind the first 16 KiB cost no further range."""
    data = tiff_bytes(pixels(3000, 20), **options)
    assert len(data) > 100_000
    header, asked = read_header(data, request())
    assert (header.shape, asked) == ((3000, 20), [FIRST])


def test_large_metadata_of_imagej_is_not_read(caplog):
    """ImageJ's metadata behind the first 16 KiB cost no range, and no warning is logged."""
    for note in ("", "y" * 20_000):
        data = tiff_bytes(pixels(40, 50), imagej=True, metadata={"Info": "x" * 50_000, "note": note})
        header, asked = read_header(data, request())
        assert (header.shape, asked) == ((40, 50), [FIRST])
    assert caplog.records == []


def test_a_directory_beyond_the_end_is_asked_for_once():
    """An empty reply tells where the file ends: the header is given up, not asked for again."""
    data = b"II*\0" + struct.pack("<I", 10**6) + bytes(20_000)
    steps = probe(request())
    assert next(steps) == FIRST
    assert steps.send(data[:16384]) == ByteRange(10**6, 10**6 + 16384)
    with pytest.raises(CodecError, match=r"it is cut short: a directory at byte 1,000,000 lies outside of it"):
        steps.send(b"")


def test_tables_of_absurd_size_are_not_made_up():
    """A table of strips of 400 MB, which the header refers to, is an error, not memory."""
    data = bytearray(plain_tiff() + bytes(20_000))
    entry = tifffile.TiffFile(io.BytesIO(data)).pages[0].tags["StripOffsets"].offset
    data[entry + 4 : entry + 12] = struct.pack("<II", 10**8, 30_000)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match=r"its header refers to a table of 400,000,000 bytes"):
            read_header(bytes(data), request())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def chained(n_pages: int) -> bytes:
    """Return a stack whose directories lie 20 kB apart."""
    return tiff_bytes(np.zeros((n_pages, 100, 200), np.uint8), metadata=None, tile=(112, 208))


def test_chains_of_directories_are_followed():
    """Planes that nothing describes are counted, one range for each directory that lies far from others."""
    header, asked = read_header(chained(12), request())
    assert (header.shape, len(asked)) == ((12, 100, 200), 12)
    assert {r.stop - r.start for r in asked} == {16384}


def test_long_chains_are_not_followed_to_their_end():
    """After 31 ranges the number of planes is taken from the document, and is an error where it states none."""
    data = chained(60)
    header, asked = read_header(data, request({"z": 60, "y": 100, "x": 200}))
    assert (header.shape, len(asked)) == ((60, 100, 200), 31)
    with pytest.raises(
        CodecError, match=r"has too many planes to count them in its header, .* State z in tile_shape\."
    ):
        read_header(data, request())
    assert decode(data, request()).shape == (60, 100, 200)


def test_the_header_of_any_prefix_is_right_or_an_error():
    """A file cut anywhere has its own header, or none; never another one."""
    data = tiff_bytes(pixels(20, 30), compression="zlib", rowsperstrip=3)
    outcomes = set()
    for stop in range(1, 600):
        try:
            outcomes.add(read_header(data[:stop], request(format="TIFF"))[0])
        except CodecError as error:
            outcomes.add(str(error).partition(" (")[0])
    sound = TileHeader((20, 30), ("y", "x"), np.dtype(np.uint16))
    assert outcomes == {sound, "https://x/t.tif: cannot be read as TIFF"}
