"""TIFF tiles; the oracles are the arrays written, tifffile.imread, and files written byte by byte."""

import io
import struct
import tracemalloc
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
from tilefiles import (
    LONG,
    SHORT,
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
    tiff_pages,
)

from slicedfs.codecs import TileHeader, decode, probe
from slicedfs.errors import CodecError
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


# -- stacks ------------------------------------------------------------------------------------------------------

STACK = pixels(5, 40, 50)


def pillow_stack(stack, **options):
    from PIL import Image

    file = io.BytesIO()
    first, *rest = [Image.fromarray(plane) for plane in stack]
    first.save(file, "TIFF", save_all=True, append_images=rest, **options)
    return file.getvalue()


def virtual_stack(stack):
    """Return a stack as ImageJ writes those above 4 GiB: one directory, the planes behind its own."""
    return tiff_bytes(stack, imagej=True, truncate=True)


STACKS = {
    "tifffile": lambda: tiff_bytes(STACK),
    "tifffile, one directory": lambda: tiff_bytes(STACK, truncate=True),
    "tifffile, compressed": lambda: tiff_bytes(STACK, compression="zlib"),
    "tifffile, no description": lambda: tiff_bytes(STACK, metadata=None),
    "tifffile, compressed, no description": lambda: tiff_bytes(STACK, metadata=None, compression="zlib"),
    "tifffile, strips": lambda: tiff_bytes(STACK, metadata=None, compression="zlib", rowsperstrip=7),
    "tifffile, tiles": lambda: tiff_bytes(STACK, tile=(16, 16)),
    "tifffile, named axis": lambda: tiff_bytes(STACK, metadata={"axes": "TYX"}),
    "page by page": lambda: tiff_pages(STACK),
    "page by page, compressed": lambda: tiff_pages(STACK, compression="zlib"),
    "page by page, contiguous": lambda: tiff_pages(STACK, contiguous=True),
    "page by page, big-endian BigTIFF": lambda: tiff_bytes(STACK, metadata=None, byteorder=">", bigtiff=True),
    "ImageJ": lambda: tiff_bytes(STACK, imagej=True),
    "ImageJ, slices": lambda: tiff_bytes(STACK, imagej=True, metadata={"axes": "ZYX"}),
    "ImageJ, one directory": lambda: virtual_stack(STACK),
    "OME": lambda: tiff_bytes(STACK, ome=True),
    "OME, named axis": lambda: tiff_bytes(STACK, ome=True, metadata={"axes": "CYX"}),
    "Pillow": lambda: pillow_stack(STACK),
    "Pillow, compressed": lambda: pillow_stack(STACK, compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("write", STACKS.values(), ids=STACKS)
def test_stacks_of_all_writers_are_z(write):
    """However the planes of a stack are stored and described, they are z, in their order."""
    data = write()
    for wanted in (request(), request({"z": 5, **YX})):
        np.testing.assert_array_equal(decode(data, wanted), STACK, strict=True)
        header, asked = read_header(data, wanted)
        assert header == TileHeader((5, 40, 50), ("z", "y", "x"), np.dtype(np.uint16))
        assert len(asked) <= 3


def test_a_stack_is_not_a_plane():
    """A stack where the document states a plane is an error that shows both shapes."""
    with pytest.raises(
        CodecError, match=r"has shape \(5, 40, 50\) \(z, y, x\), but the document states \(40, 50\) \(y, x\)\."
    ):
        decode(tiff_bytes(STACK), request(YX))


def test_hyperstacks_of_two_axes_are_refused():
    """ImageJ's and OME's stacks of channels and slices have no single z; the message names the axes."""
    hyper = pixels(2, 3, 40, 50)
    for options in ({"imagej": True, "metadata": {"axes": "ZCYX"}}, {"ome": True, "metadata": {"axes": "ZCYX"}}):
        data = tiff_bytes(hyper, **options)
        with pytest.raises(
            CodecError, match=r"has shape \(2, 3, 40, 50\) \(z, c, y, x\), but a tile has y, x, at most one"
        ):
            decode(data, request())
        with pytest.raises(CodecError, match=r"\(z, c, y, x\), but the document states \(6, 40, 50\) \(z, y, x\)"):
            decode(data, request({"z": 6, **YX}))


def test_hyperstacks_with_one_long_axis_are_z():
    """Axes of one element of a hyperstack are dropped, whichever axis is the long one."""
    for axes, shape in (("TZCYX", (1, 5, 1, 40, 50)), ("TZCYX", (5, 1, 1, 40, 50)), ("TZCYX", (1, 1, 5, 40, 50))):
        data = tiff_bytes(STACK.reshape(shape), imagej=True, metadata={"axes": axes})
        np.testing.assert_array_equal(decode(data, request()), STACK, strict=True)


def test_one_plane_of_a_larger_ome_set_is_a_plane():
    """A file that holds one plane, and describes a set of files, is that plane; no other file is opened."""
    xml = tifffile.tiffcomment(io.BytesIO(tiff_bytes(STACK, ome=True)))
    data = tiff_bytes(STACK[2], description=xml, metadata=None)
    assert tifffile.TiffFile(io.BytesIO(data)).is_ome
    np.testing.assert_array_equal(decode(data, request(YX)), STACK[2], strict=True)


@pytest.mark.parametrize("planes", [3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_three_and_four_planes_by_imageio_are_a_stack_where_stated(planes, dtype):
    """Three or four planes, which imageio writes as one planar RGB page, are planes where the document states z."""
    import imageio.v2

    stack = pixels(planes, 40, 50, dtype=dtype)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tifffile's: it will write pages in future
        imageio.v2.volwrite(file, stack, format="tiff")
    data = file.getvalue()
    assert len(tifffile.TiffFile(io.BytesIO(data)).pages) == 1
    stated = {"z": planes, **YX}
    np.testing.assert_array_equal(decode(data, request(stated)), stack, strict=True)
    assert read_header(data, request(stated))[0].shape == (planes, 40, 50)
    np.testing.assert_array_equal(decode(data, request(YX)), np.moveaxis(stack, 0, -1), strict=True)


def test_planes_of_samples():
    """RGB stacks, contiguous and planar, are z, y, x, s."""
    array = pixels(5, 40, 50, 3, dtype=np.uint8)
    for data in (
        tiff_bytes(array, photometric="rgb"),
        tiff_bytes(np.moveaxis(array, -1, 1), photometric="rgb", planarconfig="separate", compression="zlib"),
        tiff_bytes(array, photometric="rgb", imagej=True),
        tiff_bytes(array, photometric="rgb", ome=True),
    ):
        np.testing.assert_array_equal(decode(data, request()), array, strict=True)
        assert read_header(data, request())[0] == TileHeader(array.shape, ("z", "y", "x", "s"), np.dtype(np.uint8))


@pytest.mark.parametrize("shape", [(1, 40, 50), (40, 50, 1), (1, 1, 40, 50)])
def test_axes_of_one_element_are_dropped(shape):
    """(1, y, x) and (y, x, 1), as tifffile writes them, are a plane."""
    array = pixels(*shape)
    np.testing.assert_array_equal(decode(tiff_bytes(array), request(YX)), array.reshape(40, 50), strict=True)


def test_two_channels_last_are_samples_where_stated():
    """(y, x, 2), which tifffile writes as y pages, is y, x, s for a document that states y and x."""
    array = pixels(40, 50, 2)
    np.testing.assert_array_equal(decode(tiff_bytes(array), request(YX)), array, strict=True)


def with_more_pages(first, others):
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(first, metadata=None, compression="zlib")
        for array, options in others:
            writer.write(array, metadata=None, **options)
    return file.getvalue()


MORE_PAGES = {
    "thumbnail": [(pixels(10, 12), {"subfiletype": 1})],
    "reduced, of the same shape": [(pixels(40, 50) // 2, {"subfiletype": 1})],
    "page of another shape": [(pixels(41, 50), {})],
    "page of another dtype": [(pixels(40, 50, dtype="u1"), {})],
    "several": [(pixels(20, 25), {"subfiletype": 1}), (pixels(10, 12), {"subfiletype": 1})],
}


@pytest.mark.parametrize("others", MORE_PAGES.values(), ids=MORE_PAGES)
def test_other_pages_do_not_become_planes(others):
    """Thumbnails, masks, lower resolutions and pages of another shape or dtype are left out."""
    array = pixels(40, 50)
    data = with_more_pages(array, others)
    assert len(tifffile.TiffFile(io.BytesIO(data)).pages) == 1 + len(others)
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)
    assert read_header(data, request())[0].shape == (40, 50)


def test_masks_do_not_become_planes():
    """A transparency mask of the same shape and dtype is left out."""
    array, mask = pixels(2, 40, 50, dtype=bool)
    data = with_more_pages(array, [(mask, {"subfiletype": 4})])
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)
    np.testing.assert_array_equal(decode(with_more_pages(array, [(mask, {})]), request()), np.stack([array, mask]))


def test_pyramids_in_sub_directories_do_not_become_planes():
    """SubIFDs, as OME-TIFF pyramids have them, are left out."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(STACK, subifds=1, metadata=None)
        for plane in STACK:
            writer.write(plane[::2, ::2], subfiletype=1, metadata=None)
    np.testing.assert_array_equal(decode(file.getvalue(), request()), STACK, strict=True)


def test_the_first_of_several_stacks_is_read():
    """Where tifffile wrote one stack after another, the file's first series is the tile, as tifffile.imread has it."""
    other = pixels(5, 40, 51)[..., :50].copy()
    for options in ({}, {"compression": "zlib"}):
        data = tiff_pages([STACK, other], **options)
        np.testing.assert_array_equal(tifffile.imread(io.BytesIO(data)), STACK)
        np.testing.assert_array_equal(decode(data, request()), STACK, strict=True)


def test_descriptions_that_do_not_fit_the_page_are_ignored():
    """A page that kept the description of the stack it was cut from, of another shape, is a plane."""
    data = tiff_bytes(pixels(40, 50), description='{"shape": [5, 80, 90]}', metadata=None)
    np.testing.assert_array_equal(decode(data, request()), pixels(40, 50), strict=True)


@pytest.mark.parametrize(
    "description",
    [
        '{"shape": [5, 40, 50]}',
        "ImageJ=1.11a\nimages=5\nslices=5\n",
        "ImageJ=1.11a\nimages=900000000\nframes=900000000\n",
    ],
)
def test_described_planes_that_are_not_there_are_an_error(description):
    """A stack described in a file that holds one plane is not read beyond the end."""
    data = tiff_bytes(pixels(40, 50), description=description, metadata=None)
    with pytest.raises(CodecError, match=r"it is cut short: its pixels lie in bytes|declares [0-9,]+ bytes of pixels"):
        decode(data, request())
    compressed = tiff_bytes(pixels(40, 50), description=description, metadata=None, compression="zlib")
    with pytest.raises(CodecError, match=r"its description tells [0-9]+ planes, but it has 1"):
        decode(compressed, request())


def test_more_directories_than_described_are_an_error():
    """Four planes of which ImageJ's description knows two are neither two nor four."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for i, plane in enumerate(STACK[:4]):
            text = "ImageJ=1.11a\nimages=2\nslices=2\n" if i == 0 else None
            writer.write(plane, metadata=None, description=text)
    with pytest.raises(CodecError, match=r"its description tells 2 planes, but it has 4"):
        decode(file.getvalue(), request())


def test_samples_described_as_channels_are_samples():
    """An RGB page that ImageJ's description calls three channels is y, x, s."""
    array = pixels(40, 50, 3, dtype=np.uint8)
    for images, text in ((1, ""), (3, "images=3\n")):
        description = f"ImageJ=1.11a\n{text}channels=3\n"
        data = tiff_bytes(array, photometric="rgb", description=description, metadata=None)
        if images == 1:
            np.testing.assert_array_equal(decode(data, request()), array, strict=True)
        else:
            with pytest.raises(CodecError, match=r"it is cut short: its pixels lie in bytes"):
                decode(data, request())


def test_metamorph_stacks_are_z():
    """A MetaMorph stack has one directory; the number of values of its tag UIC2 is that of its planes."""
    tags = [(33628, 4, 5, (0,) * 5, True), (33629, 5, 5, (1, 1) * 5, True)]
    data = tiff_bytes(STACK, metadata=None, truncate=True, extratags=tags)
    np.testing.assert_array_equal(decode(data, request()), STACK, strict=True)
    assert read_header(data, request())[0].shape == (5, 40, 50)


def test_fewer_directories_than_described_are_an_error():
    """A stack that lost pages, but not their description, is not read as a shorter one."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for i, plane in enumerate(STACK[:4]):
            text = "ImageJ=1.11a\nimages=5\nslices=5\n" if i == 0 else None
            writer.write(plane, metadata=None, compression="zlib", description=text)
    with pytest.raises(CodecError, match=r"its description tells 5 planes, but it has 4"):
        decode(file.getvalue(), request())


# -- values as stored --------------------------------------------------------------------------------------------

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


# -- headers -----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_a_header_needs_no_pixels(options):
    """The header of a file whose pixels are cut off behind the first 16 KiB is that of the whole file."""
    data = tiff_bytes(pixels(300, 200), **options)
    assert read_header(data[:16384] + bytes(16), request()) == read_header(data, request())


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


# -- damage ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("write", STACKS.values(), ids=STACKS)
def test_a_stack_cut_among_its_pixels_is_an_error(write):
    """No prefix of a stack that lacks pixels is read as a shorter stack."""
    data = write()
    for stop in range(4, min(len(data), 20_000), 499):
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
