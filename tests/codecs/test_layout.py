"""Layouts of tiles: what they cost, when they repeat, what is refused."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from tilefiles import YX, npy_by_hand, npy_bytes, pillow_bytes, pixels, plain_tiff, request, tiff_bytes, tiff_pages

from slicedfs.codecs import LayoutError, decode, hint_of, hinted, part
from slicedfs.errors import CodecError
from slicedfs.ranges import ByteRange

FIRST = ByteRange(0, 16384)
SIDE = {"y": 2048, "x": 2048}
DEEP = {"z": 50, "y": 512, "x": 512}
WINDOW = (slice(500, 600), slice(900, 1000))
PLANE_WINDOW = (slice(7, 8), slice(200, 300), slice(100, 200))
BAND = 99 * 4096 + 200  # bytes from the first to the last pixel of 100 rows of 2048 uint16
PLANE_BAND = 99 * 1024 + 200


def picture():
    """Return 2048 x 2048 uint16 as a camera gives them: compressible by half."""
    y, x = np.mgrid[:2048, :2048]
    noise = np.random.default_rng(0).standard_normal((2048, 2048))
    return (250 + 40 * noise + 100 * np.sin(y / 50) * np.sin(x / 70)).astype("u2")


PICTURE = picture()
VOLUME = PICTURE[:512, :512] + np.arange(50, dtype="u2")[:, None, None]


def libtiff_like(pages, rows, compress=None):
    """Return a file as OpenCV writes it through libtiff: strips of a few rows, each directory behind its pixels."""
    out, link = bytearray(b"II*\0\0\0\0\0"), 4
    for page in pages:
        strips = [page[y : y + rows].tobytes() for y in range(0, len(page), rows)]
        strips = strips if compress is None else [compress(strip) for strip in strips]
        offsets = len(out) + np.cumsum([0, *map(len, strips)])[:-1]
        out += b"".join(strips)
        out += bytes(len(out) % 2)
        directory = len(out)
        tables = directory + 2 + 12 * 10 + 4
        out[link : link + 4] = struct.pack("<I", directory)
        compression = 1 if compress is None else 5
        values = [(256, page.shape[1]), (257, page.shape[0]), (258, 16), (259, compression), (262, 1)]
        values += [(273, tables), (277, 1), (278, rows), (279, tables + 4 * len(strips)), (339, 1)]
        counts = {273: len(strips), 279: len(strips)}
        entries = b"".join(struct.pack("<HHII", tag, 4, counts.get(tag, 1), value) for tag, value in values)
        out += struct.pack("<H", 10) + entries + bytes(4)
        link = len(out) - 4
        out += np.concatenate([offsets, [len(strip) for strip in strips]]).astype("<u4").tobytes()
    return bytes(out)


def pillow_stack(stack, **options):
    from PIL import Image

    file = io.BytesIO()
    first, *rest = [Image.fromarray(plane) for plane in stack]
    first.save(file, "TIFF", save_all=True, append_images=rest, **options)
    return file.getvalue()


# name: file, stated shape, requests, round trips, bytes of headers, most bytes of pixels. Requests and round trips are
# at most those of the best reader of formats.md 3.3; its bytes are for 1,024 x 1,024 planes, these for 512 x 512.
# Where the column of the reference reads 4 KiB for a further directory, 16 KiB are read here.
COSTS = {
    "one raw strip, tifffile": (lambda: tiff_bytes(PICTURE), SIDE, 2, 2, 16_384, BAND),
    "one raw strip, ImageJ": (lambda: tiff_bytes(PICTURE, imagej=True), SIDE, 2, 2, 16_384, BAND),
    "one raw strip, Pillow": (lambda: pillow_bytes(PICTURE, "TIFF"), SIDE, 2, 2, 16_384, BAND),
    "one raw strip, OME-XML at the end": (lambda: tiff_bytes(PICTURE, ome=True), SIDE, 2, 2, 16_384, BAND),
    "raw strips of 256 KiB": (lambda: tiff_bytes(PICTURE, rowsperstrip=64), SIDE, 2, 2, 16_384, BAND),
    "a raw strip a row": (lambda: tiff_bytes(PICTURE, rowsperstrip=1), SIDE, 2, 2, 16_384, BAND),
    "zstd strips": (
        lambda: tiff_bytes(PICTURE, compression="zstd", predictor=2, rowsperstrip=64), SIDE, 2, 2, 16_384, 510_000,
    ),
    "deflate tiles of 256": (
        lambda: tiff_bytes(PICTURE, compression="zlib", predictor=2, tile=(256, 256)), SIDE, 3, 2, 16_384, 175_000,
    ),
    "OpenCV, lzw": (
        lambda: libtiff_like([PICTURE], 2, imagecodecs.lzw_encode), SIDE, 3, 3, 16_384 + 8_318, 315_000,
    ),
    "Pillow, lzw": (lambda: pillow_bytes(PICTURE, "TIFF", compression="tiff_lzw"), SIDE, 3, 3, 32_768, 345_000),
    "stack, contiguous": (lambda: tiff_bytes(VOLUME), DEEP, 2, 2, 16_384, PLANE_BAND),
    "stack, contiguous, ImageJ": (lambda: tiff_bytes(VOLUME, imagej=True), DEEP, 2, 2, 16_384, PLANE_BAND),
    "stack, contiguous, not described": (lambda: tiff_bytes(VOLUME, metadata=None), DEEP, 2, 2, 16_384, PLANE_BAND),
    "stack, contiguous, OME": (lambda: tiff_bytes(VOLUME, ome=True), DEEP, 3, 3, 32_768, PLANE_BAND),
    "stack, OpenCV": (lambda: libtiff_like(VOLUME, 8), DEEP, 5, 4, 3 * 16_384, PLANE_BAND + 638),
    "stack, Pillow": (lambda: pillow_stack(VOLUME), DEEP, 4, 3, 2 * 16_384, PLANE_BAND + 122),
    "stack, tifffile page by page": (lambda: tiff_pages(VOLUME), DEEP, 4, 3, 2 * 16_384, PLANE_BAND + 210),
    "NPY": (lambda: npy_bytes(PICTURE), SIDE, 2, 2, 16_384, BAND),
    "NPY stack": (lambda: npy_bytes(VOLUME), DEEP, 2, 2, 16_384, PLANE_BAND),
}  # fmt: skip


@pytest.mark.parametrize("costs", COSTS.values(), ids=COSTS)
def test_a_window_costs_what_the_reference_says(costs, read_layout, read_part):
    """Requests, round trips and bytes for a window of 100 x 100 pixels of a file of which nothing is known."""
    write, shape, requests, trips, headers, most = costs
    data, window = write(), WINDOW if len(shape) == 2 else PLANE_WINDOW
    found, asked = read_layout(data, request(shape))
    cut = part(found, request(shape), tuple(shape), window)
    original = PICTURE if len(shape) == 2 else VOLUME
    np.testing.assert_array_equal(read_part(data, cut), original[window], strict=True)
    assert asked[0] == FIRST
    assert sum(len(data[range_.start : range_.stop]) for range_ in asked) <= headers
    assert len(asked) + len(cut.ranges) == requests
    assert len(asked) + 1 == trips
    n_bytes = sum(range_.stop - range_.start for range_ in cut.ranges)
    assert n_bytes == most if most in (BAND, PLANE_BAND) else 0.9 * most < n_bytes <= most


def test_files_that_are_read_whole(read_layout):
    """Streams have no layout; of compressed stacks whose directories lie far apart the layout costs too much."""
    grey = pixels(40, 50, dtype="u1")
    for data in (pillow_bytes(grey, "PNG"), pillow_bytes(grey, "JPEG"), imagecodecs.jpegxl_encode(grey)):
        assert read_layout(data, request()) == (None, [FIRST])
    stack = tiff_bytes(VOLUME[:10], compression="zstd", metadata=None)
    found, asked = read_layout(stack, request({"z": 10, "y": 512, "x": 512}))
    assert (found, len(asked)) == (None, 6)


REPEATING = {
    "NPY": npy_bytes,
    "NPY, Fortran": lambda array: npy_bytes(np.asfortranarray(array)),
    "one raw strip": tiff_bytes,
    "raw strips": lambda array: tiff_bytes(array, rowsperstrip=16),
    "a directory behind the pixels": lambda array: libtiff_like([array], 16),
    "BigTIFF, big-endian": lambda array: tiff_bytes(array, bigtiff=True, byteorder=">"),
    "contiguous stack": lambda array: tiff_bytes(np.stack([array] * 5)),
    "stack, page by page": lambda array: tiff_pages(np.stack([array] * 5)),
    "stack, directories behind the pixels": lambda array: libtiff_like([array] * 5, 16),
}


def stated(array):
    return dict(zip("zyx"[-array.ndim :], array.shape, strict=True))


@pytest.mark.parametrize("write", REPEATING.values(), ids=REPEATING)
def test_a_layout_serves_other_files_of_the_set(write, read_layout, read_part):
    """The layout of one file, confirmed by the head of another one of the same writer, gives that one's pixels."""
    first, other = write(pixels(130, 90)), write(pixels(130, 90)[::-1].copy())
    whole = decode(other, request())
    wanted = request(stated(whole))
    found, _ = read_layout(first, wanted)
    assert found.repeats
    assert found.head.start == 0
    assert found.head.stop <= 16384
    assert found.confirms(other[: found.head.stop])
    assert found.confirms(memoryview(other)[: found.head.stop])
    for plane in range(4):
        region = (slice(plane, plane + 1), slice(20, 33), slice(7, 60))[-whole.ndim :]
        cut = part(found, wanted, tuple(wanted.shape), region)
        np.testing.assert_array_equal(read_part(other, cut), whole[region], strict=True)


@pytest.mark.parametrize("write", REPEATING.values(), ids=REPEATING)
@pytest.mark.parametrize("changed", ["shape", "dtype", "cut", "other format"])
def test_a_layout_is_not_confirmed_by_other_heads(write, changed, read_layout):
    """Files of another shape, dtype or format, and heads that are cut short, confirm nothing, and raise nothing."""
    first = write(pixels(130, 90))
    found, _ = read_layout(first, request(stated(decode(first, request()))))
    assert found.confirms(first[: found.head.stop])
    other = {
        "shape": lambda: write(pixels(131, 90)),
        "dtype": lambda: write(pixels(130, 90, dtype="i4")),
        "cut": lambda: write(pixels(130, 90))[: found.head.stop - 1],
        "other format": lambda: b"<html>" * 4000,
    }[changed]()
    assert found.confirms(other[: found.head.stop]) is False


def test_heads_may_differ_in_what_does_not_matter(read_layout):
    """Another text of the same length, or another spelling of an NPY header, confirms the layout."""
    first, other = (tiff_bytes(pixels(40, 50), description=f"made on day {n} of 9", metadata=None) for n in (1, 2))
    found, _ = read_layout(first, request())
    assert first[: found.head.stop] != other[: found.head.stop]
    assert found.confirms(other[: found.head.stop])
    one = npy_by_hand("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3)}", bytes(12))
    two = npy_by_hand("{'fortran_order': False,'descr': '<u2','shape': (2, 3)}  ", bytes(12))
    found, _ = read_layout(one, request())
    assert len(one) == len(two)
    assert found.confirms(two[: found.head.stop])


def test_compressed_files_do_not_repeat(read_layout):
    """Where compressed strips lie depends on the pixels: such a layout is for its own file only."""
    data = tiff_bytes(pixels(40, 50), compression="zlib", rowsperstrip=8)
    found, _ = read_layout(data, request())
    assert (found.repeats, found.head) == (False, None)
    assert not found.confirms(data)


def test_size_is_the_end_of_the_pixels(read_layout):
    """A file that is shorter than its layout's size lacks pixels; one byte more may be missing of none."""
    for data in (npy_bytes(pixels(40, 50)), tiff_bytes(pixels(40, 50)), tiff_bytes(pixels(40, 50), compression="zlib")):
        found, _ = read_layout(data, request())
        assert found.size == len(data)
    assert read_layout(npy_bytes(pixels(40, 50)) + b"more", request())[0].size == 128 + 4000


def test_a_stack_that_breaks_its_rhythm_is_found_out(read_layout, read_part):
    """Where a directory is not where its distance from the others promised, the part is refused, not misread."""
    stack = pixels(5, 130, 90)
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for i, plane in enumerate(stack):
            writer.write(plane, metadata=None, description="x" * 100 if i == 3 else None)
    data, wanted = file.getvalue(), request({"z": 5, "y": 130, "x": 90})
    np.testing.assert_array_equal(decode(data, wanted), stack)
    found, asked = read_layout(data, wanted)
    assert len(asked) == 2
    parts = [part(found, wanted, ("z", "y", "x"), (slice(z, z + 1), slice(5, 6), slice(0, 90))) for z in range(5)]
    for z in (0, 1, 2):
        np.testing.assert_array_equal(read_part(data, parts[z]), stack[z : z + 1, 5:6], strict=True)
    for z in (3, 4):
        with pytest.raises(LayoutError, match=r"^https://x/t\.tif: the directory at byte [0-9,]+ is not the one"):
            read_part(data, parts[z])


def test_a_position_that_was_changed_is_found_out(read_layout, read_part):
    """A plane whose directory refers to other bytes than those at its distance is refused."""
    stack = pixels(5, 130, 90)
    sound, wanted = tiff_pages(stack, metadata=None), request({"z": 5, "y": 130, "x": 90})
    found, _ = read_layout(sound, wanted)
    page = tifffile.TiffFile(io.BytesIO(sound)).pages[2]
    at = page.tags["StripOffsets"].offset + 8
    data = sound[:at] + struct.pack("<I", page.dataoffsets[0] + 2) + sound[at + 4 :]
    assert found.confirms(data[: found.head.stop])
    cut = part(found, wanted, ("z", "y", "x"), (slice(2, 3), slice(5, 6), slice(0, 90)))
    np.testing.assert_array_equal(read_part(sound, cut), stack[2:3, 5:6], strict=True)
    with pytest.raises(LayoutError, match=r"is not the one that its distance from the others promised\."):
        read_part(data, cut)


def test_blocks_of_another_length_are_refused(read_layout):
    """A block that is too short or too long is an error that shows the ranges, and so is one too few."""
    data = npy_bytes(pixels(40, 50))
    found, _ = read_layout(data, request())
    cut = part(found, request(), ("y", "x"), (slice(2, 4), slice(0, 50)))
    assert cut.ranges == (ByteRange(328, 528),)
    for blocks in ([data[328:527]], [data[328:529]], []):
        with pytest.raises(CodecError, match=r"cannot be read as NUMPY .*: its ranges 328 to 528 came as \["):
            cut.pixels(blocks)


def test_native_pixels_are_a_view_of_their_block(read_layout):
    """Uncompressed pixels in native byte order are not copied."""
    data = npy_bytes(pixels(40, 50).astype("<u2"))
    found, _ = read_layout(data, request())
    block = data[328:528]
    got = part(found, request(), ("y", "x"), (slice(2, 4), slice(0, 50))).pixels([block])
    assert np.shares_memory(got, np.frombuffer(block, np.uint8))


def test_layouts_are_checked_as_whole_files_are(read_layout):
    """A layout of another shape, of too many pixels, or of a file that is cut short, is an error."""
    for data in (npy_bytes(pixels(50, 40)), tiff_bytes(pixels(50, 40)), tiff_bytes(pixels(50, 40), compression="zlib")):
        with pytest.raises(CodecError, match=r"has shape \(50, 40\).* but the document states \(40, 50\).*transposed"):
            read_layout(data, request(YX))
        with pytest.raises(CodecError, match=r"declares 4,000 bytes of pixels"):
            read_layout(data, request(max_bytes=3999))
        with pytest.raises(CodecError, match=r"cut short"):
            read_layout(data[:-1], request())


ABSENT = {
    "count 0": ({"count": 0, "compression": 8}, r"a strip or tile lies in bytes .* absent"),
    "offset 0": ({"offset": 0, "compression": 8}, r"a strip or tile lies in bytes 0 to 20: absent"),
    "offset 0, raw": ({"offset": 0}, r"its pixels lie in bytes 0 to 20"),
    "count too small": ({"count": 19}, r"its strips hold fewer bytes than its shape needs"),
    "more rows than strips": ({"height": 8, "compression": 8}, r"it has 1 strips or tiles, its shape needs 2"),
}


@pytest.mark.parametrize(("changes", "message"), ABSENT.values(), ids=ABSENT)
def test_absent_strips_are_an_error(changes, message, read_layout):
    """What a whole file is refused for, its layout is refused for."""
    with pytest.raises(CodecError, match=message):
        read_layout(plain_tiff(**changes), request())


def test_damaged_strips_are_an_error(read_layout):
    """A strip that does not decode is an error when it is touched, and none when it is not."""
    array = pixels(40, 50)
    data = bytearray(tiff_bytes(array, compression="zlib", rowsperstrip=10))
    found, _ = read_layout(bytes(data), request())
    offset = tifffile.TiffFile(io.BytesIO(data)).pages[0].dataoffsets[2]
    data[offset + 40] ^= 255
    regions = {row: (slice(row, row + 1), slice(0, 50)) for row in (19, 20, 30)}
    cuts = {row: part(found, request(), ("y", "x"), region) for row, region in regions.items()}
    blocks = {row: [bytes(data[a:b]) for a, b in cut.ranges] for row, cut in cuts.items()}
    for row in (19, 30):
        np.testing.assert_array_equal(cuts[row].pixels(blocks[row]), array[regions[row]])
    with pytest.raises(CodecError, match=r"cannot be read as TIFF"):
        cuts[20].pixels(blocks[20])


@pytest.mark.parametrize(
    "region", [(slice(0, 41), slice(0, 50)), (slice(3, 3), slice(0, 50)), (slice(-1, 2), slice(0, 50))]
)
def test_regions_outside_of_the_tile_are_refused(region, read_layout):
    """A region that leaves the tile, or is empty, is an error that shows both."""
    found, _ = read_layout(npy_bytes(pixels(40, 50)), request())
    with pytest.raises(CodecError, match=r"has shape \(40, 50\) \(y, x\), and no pixels in"):
        part(found, request(), ("y", "x"), region)


def test_axes_that_the_set_lacks_are_refused(read_layout):
    """A part of a colour tile in a set of grey ones is refused as the whole tile is."""
    data = tiff_bytes(pixels(40, 50, 3, dtype="u1"), photometric="rgb")
    found, _ = read_layout(data, request(YX))
    message = r"has shape \(40, 50, 3\) \(y, x, s\), but the tiles of this set have the axes \(y, x\)\."
    with pytest.raises(CodecError, match=message):
        decode(data, request(YX), ("y", "x"))
    with pytest.raises(CodecError, match=message):
        part(found, request(YX), ("y", "x"), (slice(0, 1), slice(0, 1)))


HINTS = {
    "tifffile": (lambda: tiff_bytes(pixels(40, 50)), {"kind": "raw", "offset": 256, "dtype": "<u2", "order": "C"}),
    "Pillow": (
        lambda: pillow_bytes(pixels(40, 50, dtype="u1"), "TIFF"),
        {"kind": "raw", "offset": 122, "dtype": "|u1", "order": "C"},
    ),
    "big-endian": (
        lambda: tiff_bytes(pixels(40, 50), byteorder=">", metadata=None),
        {"kind": "raw", "offset": 208, "dtype": ">u2", "order": "C"},
    ),
    "NPY, Fortran": (
        lambda: npy_bytes(np.asfortranarray(pixels(40, 50, dtype="f4"))),
        {"kind": "raw", "offset": 128, "dtype": "<f4", "order": "F"},
    ),
    "NPY stack": (
        lambda: npy_bytes(pixels(5, 40, 50)),
        {"kind": "raw", "offset": 128, "dtype": "<u2", "order": "C", "shape": [5, 40, 50]},
    ),
}


@pytest.mark.parametrize(("write", "hint"), HINTS.values(), ids=HINTS)
def test_hints_stand_for_layouts(write, hint, read_layout, read_part):
    """What a layout hints at is the documented text, and gives the pixels without a look at the file's head."""
    data = write()
    whole = decode(data, request())
    wanted = request(stated(whole))
    assert hint_of(read_layout(data, wanted)[0]) == hint
    found = hinted(hint, wanted)
    assert (found.head, found.repeats, found.confirms(b"anything")) == (None, True, True)
    assert found.size == hint["offset"] + whole.nbytes
    region = tuple(slice(1, 4) for _ in whole.shape)
    cut = part(found, wanted, tuple(wanted.shape), region)
    np.testing.assert_array_equal(read_part(data, cut), whole[region], strict=True)


NO_HINTS = {
    "compressed": lambda: tiff_bytes(pixels(40, 50), compression="zlib"),
    "colour": lambda: tiff_bytes(pixels(40, 50, 3, dtype="u1"), photometric="rgb"),
    "pages apart": lambda: tiff_pages(pixels(2, 40, 50)),
    "a directory behind the pixels": lambda: libtiff_like([pixels(130, 90)], 65),
}


@pytest.mark.parametrize("write", NO_HINTS.values(), ids=NO_HINTS)
def test_other_layouts_have_no_hint(write, read_layout):
    """Where one offset and the tile's shape do not tell where all pixels are, nothing is hinted at."""
    found, _ = read_layout(write(), request())
    assert found is not None
    assert hint_of(found) is None


GOOD = {"kind": "raw", "offset": 128, "dtype": "<u2", "order": "C"}


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "tiff"}, {"kind": None}, {"offset": -1}, {"offset": "128"}, {"offset": True}, {"dtype": "O"},
        {"dtype": 3},
        {"dtype": "<u2,<u2"}, {"order": "K"}, {"order": ["C"]}, {"compression": 8}, {"size": 4127}, {"size": "4128"},
        {"shape": [40, 51]}, {"shape": 2000},
    ],
)  # fmt: skip
def test_hints_that_are_not_understood_are_passed_over(changes):
    """Newer kinds, unknown keys, wrong types and contradictions give no layout, and no error."""
    assert hinted(GOOD, request(YX)) is not None
    assert hinted(GOOD | {"size": 4128, "shape": [40, 50]}, request(YX)).size == 4128
    assert hinted(GOOD | changes, request(YX)) is None


def test_hints_need_the_stated_shape_and_its_limit():
    """Without a stated shape, or with one of too many pixels, a hint gives no layout."""
    assert hinted(GOOD, request()) is None
    assert hinted(GOOD, request(YX, max_bytes=3999)) is None
