"""TIFF tiles: what is refused; the oracles are files written byte by byte, each sound but for one change."""

import io
import struct
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from tilefiles import (
    LONG,
    YX,
    npy_bytes,
    pillow_bytes,
    pixels,
    plain_tiff,
    read_header,
    request,
    strips_at,
    tiff_by_hand,
    tiff_bytes,
)

from slicedfs.codecs import decode
from slicedfs.errors import CodecError

TWENTY = np.arange(20, dtype=np.uint8).reshape(4, 5)


def circle():
    return tiff_by_hand([(256, LONG, 5)], next_ifd=8)


def overlapping():
    """Return a file whose directories, of 100 entries each, start at every fourth byte."""
    nexts = b"".join(struct.pack("<I", 12 + 4 * i) for i in range(50))
    return b"II*\0\x08\0\0\0" + b"\x64\0" * 601 + nexts + bytes(1300)


DAMAGED = {
    "eight bytes": (b"II*\0\x08\0\0\0", r"it is cut short: a directory at byte 8 lies outside of it"),
    "four bytes": (b"II*\0", r"it is cut short"),
    "no directory": (b"II*\0" + bytes(100), r"it has no directory"),
    "directory beyond the end": (
        b"II*\0\xff\xff\0\0" + bytes(100),
        r"it is cut short: a directory at byte 65,535 lies outside",
    ),
    "directory of no entries": (b"II*\0\x08\0\0\0" + bytes(100), r"its directory at byte 8 claims 0 entries"),
    "circle": (circle(), r"its chain of directories leads in a circle, at byte 8"),
    "overlapping directories": (overlapping(), r"its directories overlap, at byte 16"),
    "next directory beyond the end": (
        tiff_by_hand([(256, LONG, 5)], next_ifd=10**6),
        r"a directory at byte 1,000,000 lies outside",
    ),
    "no tags that matter": (tiff_by_hand([(305, LONG, 5)]), r"declares the shape \(0, 0\), which holds no pixels"),
    "offset 0": (plain_tiff(offset=0), r"cannot be read as TIFF .*: it is cut short: its pixels lie in bytes 0 to 20"),
    "offset beyond the end": (
        plain_tiff(offset=10**6),
        r"it is cut short: its pixels lie in bytes 1,000,000 to 1,000,020",
    ),
    "offset 0, compressed": (
        plain_tiff(offset=0, compression=8),
        r"a strip or tile lies in bytes 0 to 20: absent, or cut short",
    ),
    "beyond the end, compressed": (
        plain_tiff(offset=10**6, compression=8),
        r"a strip or tile lies in bytes 1,000,000 to 1,000,020",
    ),
    "one byte short": (plain_tiff()[:-1], r"it is cut short: its pixels lie in bytes"),
    "count 0": (plain_tiff(count=0), r"its strips hold fewer bytes than its shape needs"),
    "count 0, compressed": (
        plain_tiff(count=0, compression=8),
        r"a strip or tile lies in bytes .*: absent, or cut short",
    ),
    "count too small": (plain_tiff(count=19), r"its strips hold fewer bytes than its shape needs"),
    "count huge, compressed": (plain_tiff(count=2**32 - 1, compression=8), r"absent, or cut short"),
    "no offset": (plain_tiff(offset=None), r"cannot be read as TIFF"),
    "no width": (plain_tiff(width=None), r"declares the shape \(4, 0\), which holds no pixels"),
    "height 0": (plain_tiff(height=0), r"declares the shape \(0, 5\), which holds no pixels"),
    "more rows than strips": (plain_tiff(height=8), r"cannot be read as TIFF"),
    "more rows than strips, compressed": (
        plain_tiff(height=8, compression=8),
        r"it has 1 strips or tiles, its shape needs 2",
    ),
    "rows a strip 0": (plain_tiff(rows=0, compression=8), r"cannot be read as TIFF"),
    "bits 13": (plain_tiff(bits=13), r"cannot be read as TIFF"),
    "bits 0": (plain_tiff(bits=0), r"samples of 0 bits, format 1, are not supported"),
    "unknown compression": (plain_tiff(compression=12345), r"cannot be read as TIFF .*: 12345"),
    "unknown predictor": (plain_tiff(predictor=99, compression=8), r"cannot be read as TIFF"),
    "no deflate stream": (plain_tiff(compression=8), r"cannot be read as TIFF"),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_an_error(data, message):
    """What tifffile reads as an empty or zero-filled array, logs, or fails on, is a CodecError."""
    with pytest.raises(CodecError, match=message):
        decode(data, request())


def test_the_file_that_is_damaged_is_sound():
    """Without a change the file of the tests above is read: each of them fails for its own change."""
    np.testing.assert_array_equal(decode(plain_tiff(), request()), TWENTY, strict=True)
    compressed = zlib.compress(bytes(range(20)))
    tags = plain_tiff(compression=8, count=len(compressed))
    np.testing.assert_array_equal(decode(tags[: strips_at(11)] + compressed, request()), TWENTY, strict=True)


def test_missing_strips_are_an_error():
    """A file of several strips, one of which has the offset 0, as sparse files do, is not filled with zeros."""
    data = bytearray(tiff_bytes(pixels(40, 50), compression="zlib", rowsperstrip=10))
    page = tifffile.TiffFile(io.BytesIO(data)).pages[0]
    at = page.tags["StripOffsets"].valueoffset
    data[at + 4 : at + 8] = bytes(4)
    with pytest.raises(CodecError, match=r"a strip or tile lies in bytes 0 to [0-9,]+: absent, or cut short"):
        decode(bytes(data), request())


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 277, 278, 339])
def test_tags_that_tifffile_drops_are_an_error(tag):
    """A damaged tag that decides on the pixels is not replaced by its default."""
    data = bytearray(tiff_bytes(pixels(40, 50, dtype="f4"), compression="zlib"))
    entry = tifffile.TiffFile(io.BytesIO(data)).pages[0].tags[tag].offset
    data[entry + 2 : entry + 4] = b"\x63\0"
    with pytest.raises(CodecError, match=rf"the tags \[{tag}\] of its directory 0 are damaged"):
        decode(bytes(data), request())
    with pytest.raises(CodecError, match=rf"the tags \[{tag}\] of its directory 0 are damaged"):
        read_header(bytes(data), request())


def test_damaged_tags_that_do_not_matter_are_passed_over():
    """A broken Software tag is no reason to refuse the pixels."""
    array = pixels(40, 50)
    data = bytearray(tiff_bytes(array))
    entry = tifffile.TiffFile(io.BytesIO(data)).pages[0].tags["Software"].offset
    data[entry + 8 : entry + 12] = b"\xff\xff\xff\x7f"
    np.testing.assert_array_equal(decode(bytes(data), request()), array, strict=True)


CUT = {
    "raw": tiff_bytes(pixels(40, 50)),
    "raw strips": tiff_bytes(pixels(40, 50), rowsperstrip=7),
    "deflate": tiff_bytes(pixels(40, 50), compression="zlib"),
    "lzw": tiff_bytes(pixels(40, 50), compression="lzw", rowsperstrip=7),
    "tiles": tiff_bytes(pixels(40, 50), compression="zstd", tile=(16, 16)),
    "big-endian": tiff_bytes(pixels(40, 50), byteorder=">"),
    "Pillow": pillow_bytes(pixels(40, 50, dtype="u1"), "TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_a_plane_cut_anywhere_is_an_error(data):
    """No prefix of a file of one plane is read as pixels."""
    assert decode(data, request()).shape == (40, 50)
    for stop in [*range(4, len(data), 97), len(data) - 1]:
        with pytest.raises(CodecError, match=r"cannot be read as TIFF"):
            decode(data[:stop], request())


@pytest.mark.parametrize("changes", [{}, {"compression": 8}, {"compression": 5}])
def test_declared_bombs_are_refused_before_allocation(changes):
    """A header that claims 200,000 x 200,000 pixels costs no memory, in one strip or many."""
    for rows in (200_000, 1):
        data = plain_tiff(width=200_000, height=200_000, rows=rows, **changes)
        decode(plain_tiff(), request())  # tifffile is imported
        tracemalloc.start()
        try:
            with pytest.raises(CodecError, match=r"declares 40,000,000,000 bytes of pixels"):
                decode(data, request())
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


def test_a_deflate_bomb_is_not_inflated():
    """A strip that inflates to 128 MiB, where 20 bytes are declared, is cut or refused."""
    bomb = zlib.compress(bytes(1 << 27))
    data = plain_tiff(compression=8, count=len(bomb))[: strips_at(11)] + bomb
    with pytest.raises(CodecError, match=r"cannot be read as TIFF"):
        decode(data, request())


def test_a_contradiction_comes_before_decoding():
    """The stated shape is compared first: a transposed file is called so although its pixels are cut off."""
    data = tiff_bytes(pixels(50, 40))[:300]
    with pytest.raises(
        CodecError, match=r"has shape \(50, 40\) \(y, x\), but the document states \(40, 50\); it looks transposed"
    ):
        decode(data, request(YX))


def test_other_bytes_are_named():
    """Bytes that are no TIFF file, in a tile that says so, are an error that shows them."""
    with pytest.raises(
        CodecError, match=r"cannot be read as TIFF \(20 bytes\): it is not a TIFF file, its first bytes are b'QQQQ'"
    ):
        decode(b"Q" * 20, request(format="TIFF"))


def test_threads_do_not_disturb_each_other():
    """Sixteen files decoded in four threads at once are sixteen right arrays."""
    arrays = [pixels(40, 50 + i) for i in range(16)]
    files = [tiff_bytes(array, compression="zlib") for array in arrays]
    with ThreadPoolExecutor(4) as pool:
        for array, got in zip(arrays, pool.map(lambda data: decode(data, request()), files), strict=True):
            np.testing.assert_array_equal(got, array, strict=True)


def test_the_content_wins_over_the_name():
    """An NPY file under a TIFF's name and format is read as what it is."""
    array = pixels(40, 50)
    wanted = request(YX, format="TIFF", extension=".tif")
    np.testing.assert_array_equal(decode(npy_bytes(array), wanted), array, strict=True)
