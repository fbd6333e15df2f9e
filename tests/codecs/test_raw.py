"""RAW tiles: pixels without a header; the oracles are the arrays written, and numpy's tobytes."""

import gzip
import sys
import tracemalloc
import zlib

import imagecodecs
import numpy as np
import pytest
from tilefiles import YX, pixels, read_header, request

from slicedfs.codecs import TileHeader, decode, hint_of, known_formats, part
from slicedfs.errors import CodecError, MissingExtraError

COMPRESSORS = {
    None: bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zstd": imagecodecs.zstd_encode,
    "lz4": imagecodecs.lz4f_encode,
    "blosc": imagecodecs.blosc_encode,
}


def raw(shape, *, dtype="<u2", order="C", compressor=None, **options):
    """Return the request of a RAW tile."""
    return request(shape, format="RAW", raw={"dtype": dtype, "order": order, "compressor": compressor}, **options)


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "|u1", "<f4", "|b1", ">c8"])
def test_every_compressor_order_and_dtype_comes_back(dtype, order, compressor):
    """Pixels are read bit for bit, in native byte order, from the bytes that numpy gives for their order."""
    array = pixels(40, 50, dtype=dtype)
    data = COMPRESSORS[compressor](array.tobytes(order=order))
    wanted = raw(YX, dtype=dtype, order=order, compressor=compressor)
    native = array.astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(decode(data, wanted), native, strict=True)
    assert read_header(data, wanted)[0] == TileHeader((40, 50), ("y", "x"), native.dtype)


def test_axes_are_z_y_x_s_in_any_order_of_the_document():
    """The order in which a document names the axes of tile_shape does not matter: x varies fastest, then y, then z."""
    array = pixels(3, 40, 50, 2, dtype="<u2")
    wanted = raw({"x": 50, "s": 2, "z": 3, "y": 40})
    np.testing.assert_array_equal(decode(array.tobytes(), wanted), array, strict=True)
    np.testing.assert_array_equal(decode(array.tobytes("F"), raw(wanted.shape, order="F")), array, strict=True)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_part_is_its_rows_and_nothing_is_asked_before(order, read_layout, read_part):
    """The layout is known without a byte of the file; a part is the rows, or columns, from first to last."""
    array = pixels(3, 40, 50, dtype=">u2")
    data = array.tobytes(order=order)
    wanted = raw({"z": 3, "y": 40, "x": 50}, dtype=">u2", order=order)
    found, asked = read_layout(data, wanted)
    assert (asked, found.head, found.repeats, found.size) == ([], None, True, 12_000)
    region = (slice(1, 2), slice(10, 13), slice(20, 30))
    cut = part(found, wanted, ("z", "y", "x"), region)
    got = read_part(data, cut)
    np.testing.assert_array_equal(got, array[region], strict=False)
    assert got.dtype == np.dtype("u2")
    first = 4000 + 10 * 100 + 20 * 2
    if order == "C":
        assert cut.ranges == ((first, first + 2 * 100 + 20),)
    else:
        assert [a for a, _ in cut.ranges] == [2 * (1 + 3 * 10 + 120 * x) for x in range(20, 30)]
        assert {b - a for a, b in cut.ranges} == {2 * (2 * 3 + 1)}
    assert hint_of(found) == {"kind": "raw", "offset": 0, "dtype": ">u2", "order": order, "shape": [3, 40, 50]}


def test_compressed_tiles_are_read_whole(read_layout):
    """A compressed RAW tile has no layout, and none of its bytes are asked for to find that out."""
    assert read_layout(b"", raw(YX, compressor="zstd")) == (None, [])


@pytest.mark.parametrize("start", [b"\xff\xd8\xff", b"II*\0", b"\x93NUMPY", b"<html>", b"{", b"PK\x03\x04"])
def test_pixels_may_start_like_any_other_format(start):
    """The document's word on RAW stands: nothing is sniffed."""
    data = start.ljust(2000, b"\7")
    np.testing.assert_array_equal(decode(data, raw(YX, dtype="|u1")).ravel(), np.frombuffer(data, "u1"), strict=True)


def test_raw_is_a_known_format_that_no_bytes_tell():
    """RAW is listed, in any case, and never chosen for a file that does not state it."""
    assert "RAW" in known_formats()
    array = pixels(40, 50, dtype="<u2")
    lower = request(YX, format="raw", raw={"dtype": "<u2"})
    np.testing.assert_array_equal(decode(array.tobytes(), lower), array.astype("u2"), strict=True)
    with pytest.raises(CodecError, match=r"states no format, and its first bytes .* are of none that is known"):
        decode(bytes(4000), request(YX, raw={"dtype": "<u2"}))


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_other_numbers_of_pixels_are_an_error(compressor):
    """A file that holds fewer or more bytes than its shape needs is refused."""
    for n_bytes in (3999, 4001):
        data = COMPRESSORS[compressor](bytes(n_bytes))
        with pytest.raises(CodecError, match=r"cannot be read as RAW"):
            decode(data, raw(YX, compressor=compressor))


@pytest.mark.parametrize("compressor", [name for name in COMPRESSORS if name])
def test_damaged_streams_are_an_error(compressor):
    """A stream that is cut short, or another one, is refused."""
    data = COMPRESSORS[compressor](pixels(40, 50).tobytes())
    for damaged in (data[:-10], data[:20], b"\0" * 100, b"x"):
        with pytest.raises(CodecError, match=r"^https://x/t\.tif: cannot be read as RAW"):
            decode(damaged, raw(YX, compressor=compressor))


def test_a_bomb_is_not_inflated():
    """Of a stream that inflates to 128 MiB, where 4,000 bytes are stated, little more than these are inflated."""
    for compressor, bomb in (("gzip", gzip.compress(bytes(1 << 27))), ("zlib", zlib.compress(bytes(1 << 27)))):
        tracemalloc.start()
        try:
            with pytest.raises(CodecError, match=r"cannot be read as RAW .* are 4,000 bytes, \w+ gives 4,001"):
                decode(bomb, raw(YX, compressor=compressor))
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


MISSTATED = {
    "no dtype": ({"order": "C"}, r"must state a dtype as"),
    "objects": ({"dtype": "O"}, r"must state a dtype as"),
    "order": ({"dtype": "<u2", "order": "K"}, r"order \"C\" or \"F\""),
    "compressor": ({"dtype": "<u2", "compressor": "rar"}, r"compressor null, gzip, zlib, zstd, lz4, blosc, got"),
    "unknown key": ({"dtype": "<u2", "offset": 4}, r"got \{'dtype': '<u2', 'offset': 4\}"),
    "no object": ("<u2", r"must state a dtype as .*, got '<u2'\."),
    "nothing": (None, r"the document states no extras\.slicedfs\.raw"),
}


@pytest.mark.parametrize(("stated", "message"), MISSTATED.values(), ids=MISSTATED)
def test_what_the_document_misses_is_named(stated, message, read_layout):
    """Whole files, headers and layouts are refused alike where the document does not tell what is needed."""
    wanted = request(YX, format="RAW", raw=stated)
    for door in (decode, read_header, read_layout):
        with pytest.raises(CodecError, match=message):
            door(bytes(4000), wanted)


def test_the_shape_must_be_stated_and_may_not_be_too_large(read_layout):
    """RAW needs tile_shape; one that declares more pixels than allowed is refused."""
    for door in (decode, read_header, read_layout):
        with pytest.raises(CodecError, match=r"the document states no tile_shape"):
            door(bytes(4000), raw(None))
        with pytest.raises(CodecError, match=r"declares 4,000 bytes of pixels"):
            door(bytes(4000), raw(YX, max_bytes=3999))


def test_a_missing_library_is_named(monkeypatch):
    """Without imagecodecs gzip is read, and zstd tells what to install."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    assert decode(gzip.compress(bytes(4000)), raw(YX, compressor="gzip")).shape == (40, 50)
    with pytest.raises(
        MissingExtraError, match=r"the compressor zstd needs imagecodecs\. pip install 'slicedfs\[codecs\]'"
    ):
        decode(b"x", raw(YX, compressor="zstd"))


def test_a_probe_asks_for_the_head_only():
    """The header comes from the document; one range shows that the file is there."""
    found = read_header(bytes(4000), raw(YX))
    assert found == (TileHeader((40, 50), ("y", "x"), np.dtype("u2")), [(0, 16384)])
