"""TIFF tiles: which pages make up a stack; the oracles are the arrays written, and tifffile.imread."""

import io
import warnings

import numpy as np
import pytest
import tifffile
from tilefiles import (
    YX,
    pixels,
    read_header,
    request,
    tiff_bytes,
    tiff_pages,
)

from slicedfs.codecs import TileHeader, decode
from slicedfs.errors import CodecError

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


@pytest.mark.parametrize("write", STACKS.values(), ids=STACKS)
def test_a_stack_cut_among_its_pixels_is_an_error(write):
    """No prefix of a stack that lacks pixels is read as a shorter stack."""
    data = write()
    for stop in range(4, min(len(data), 20_000), 499):
        with pytest.raises(CodecError, match=r"cannot be read as TIFF"):
            decode(data[:stop], request())
