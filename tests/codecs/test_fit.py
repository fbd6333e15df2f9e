"""Which of a file's axes are kept, moved, named, dropped; and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilefiles import pixels, request

from slicedfs.codecs import TileHeader, fit, fit_header
from slicedfs.errors import CodecError

ANY = ("?",)
YX = ("y", "x")
ZYX = ("z", "y", "x")
YXS = ("y", "x", "s")
SYX = ("s", "y", "x")

# (shape in the file, its dims, stated shape, dims expected, how numpy gets the expected array)
FITS = {
    "npy 2-D": ((4, 5), ANY * 2, None, YX, lambda a: a),
    "npy 2-D as stated": ((4, 5), ANY * 2, {"y": 4, "x": 5}, YX, lambda a: a),
    "npy 3-D": ((3, 4, 5), ANY * 3, None, ZYX, lambda a: a),
    "npy 3-D is z, y, x unless stated": ((4, 5, 3), ANY * 3, None, ZYX, lambda a: a),
    "npy 3-D is y, x, s where y, x are stated": ((4, 5, 3), ANY * 3, {"y": 4, "x": 5}, YXS, lambda a: a),
    "npy 4-D": ((2, 4, 5, 3), ANY * 4, None, ("z", *YXS), lambda a: a),
    "npy 4-D of many samples": ((2, 4, 5, 7), ANY * 4, None, ("z", *YXS), lambda a: a),
    "npy 4-D as stated": ((2, 4, 5, 7), ANY * 4, {"z": 2, "y": 4, "x": 5}, ("z", *YXS), lambda a: a),
    "npy (1, y, x, s)": ((1, 4, 5, 3), ANY * 4, None, YXS, lambda a: a[0]),
    "npy (1, y, x)": ((1, 4, 5), ANY * 3, None, YX, lambda a: a[0]),
    "npy (1, 1, y, x)": ((1, 1, 4, 5), ANY * 4, None, YX, lambda a: a[0, 0]),
    "npy (y, x, 1)": ((4, 5, 1), ANY * 3, None, YX, lambda a: a[:, :, 0]),
    "npy 5-D with ones": ((1, 2, 4, 5, 1), ANY * 5, {"z": 2, "y": 4, "x": 5}, ZYX, lambda a: a[0, :, :, :, 0]),
    "npy one row": ((1, 5), ANY * 2, None, YX, lambda a: a),
    "npy one pixel": ((1, 1, 1), ANY * 3, None, YX, lambda a: a[0]),
    "stated z of one is added": ((4, 5), ANY * 2, {"z": 1, "y": 4, "x": 5}, ZYX, lambda a: a[None]),
    "stated samples": ((4, 5, 3), YXS, {"y": 4, "x": 5, "s": 3}, YXS, lambda a: a),
    "tiff (1, y, x)": ((1, 4, 5), ("q", *YX), {"y": 4, "x": 5}, YX, lambda a: a[0]),
    "tiff (y, x, 1)": ((4, 5, 1), YXS, {"y": 4, "x": 5}, YX, lambda a: a[:, :, 0]),
    "tiff whatever axis is z": ((3, 4, 5), ("c", *YX), None, ZYX, lambda a: a),
    "tiff three axes of one": ((1, 1, 3, 4, 5), ("t", "z", "c", *YX), None, ZYX, lambda a: a[0, 0]),
    "rgb": ((4, 5, 3), YXS, {"y": 4, "x": 5}, YXS, lambda a: a),
    "planar rgb": ((3, 4, 5), SYX, None, YXS, lambda a: np.moveaxis(a, 0, -1)),
    "planar rgb as stated": ((3, 4, 5), SYX, {"y": 4, "x": 5}, YXS, lambda a: np.moveaxis(a, 0, -1)),
    "planar rgb that is a stack": ((3, 4, 5), SYX, {"z": 3, "y": 4, "x": 5}, ZYX, lambda a: a),
    "stack of planar rgb": ((2, 3, 4, 5), ("z", *SYX), None, ("z", *YXS), lambda a: np.moveaxis(a, 1, -1)),
    "tiff pages are rows of samples": ((4, 5, 2), ZYX, {"y": 4, "x": 5}, YXS, lambda a: a),
    "planar rgb that is (y, x, 1)": ((4, 5, 1), SYX, {"y": 4, "x": 5}, YX, lambda a: a[:, :, 0]),
}


@pytest.mark.parametrize(("shape", "dims", "stated", "expected", "op"), FITS.values(), ids=FITS)
def test_axes_are_arranged_as_the_document_sees_them(shape, dims, stated, expected, op):
    """A file's axes come in the order z, y, x, s, without axes of one element that nobody states."""
    array = pixels(*shape)
    fitted = fit(array, dims, request(stated))
    np.testing.assert_array_equal(fitted, op(array), strict=True)
    header = fit_header(TileHeader(shape, dims, np.dtype(np.uint16)), request(stated))
    assert header == TileHeader(op(array).shape, expected, np.dtype(np.uint16))


def test_fitting_copies_nothing():
    """The fitted array shares the memory of the decoded one, moved axes or not."""
    array = pixels(3, 4, 5)
    assert np.shares_memory(fit(array, SYX, request()), array)


# (shape in the file, its dims, stated shape, the message after the URL)
CONTRADICTIONS = {
    "transposed": (
        (5, 4),
        ANY * 2,
        {"y": 4, "x": 5},
        r"has shape \(5, 4\) \(y, x\), but the document states \(4, 5\); it looks transposed\. "
        r"Fix tile_shape in the document, or the file\.",
    ),
    "other size": (
        (4, 6),
        YX,
        {"y": 4, "x": 5},
        r"has shape \(4, 6\) \(y, x\), but the document states \(4, 5\)\. Fix",
    ),
    "more planes": (
        (3, 4, 5),
        ZYX,
        {"y": 4, "x": 5},
        r"has shape \(3, 4, 5\) \(z, y, x\), but the document states \(4, 5\) \(y, x\)\. Fix",
    ),
    "fewer planes": (
        (2, 4, 5),
        ZYX,
        {"z": 3, "y": 4, "x": 5},
        r"has shape \(2, 4, 5\) \(z, y, x\), but the document states \(3, 4, 5\)\. Fix",
    ),
    "transposed stack": (
        (3, 5, 4),
        ANY * 3,
        {"z": 3, "y": 4, "x": 5},
        r"states \(3, 4, 5\); it looks transposed\.",
    ),
    "transposed rgb": ((5, 4, 3), YXS, {"y": 4, "x": 5}, r"states \(4, 5\) \(y, x\); it looks transposed\."),
    "rgb is not a stack": ((4, 5, 3), YXS, {"z": 4, "y": 5, "x": 3}, r"states \(4, 5, 3\) \(z, y, x\)\. Fix"),
    "grey where colour is stated": ((4, 5), YX, {"y": 4, "x": 5, "s": 3}, r"states \(4, 5, 3\) \(y, x, s\)\. Fix"),
    "a line is not its transpose": ((1, 5), YX, {"y": 5, "x": 1}, r"states \(5, 1\); it looks transposed\."),
    "one axis": ((20,), ANY, {"y": 4, "x": 5}, r"has shape \(20,\), but the document states \(4, 5\) \(y, x\)\. Fix"),
    "six axes": ((2, 2, 2, 2, 2, 2), ANY * 6, {"y": 2, "x": 2}, r"has shape \(2, 2, 2, 2, 2, 2\), but"),
}


@pytest.mark.parametrize(("shape", "dims", "stated", "message"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_contradictions_name_the_tile_and_both_shapes(shape, dims, stated, message):
    """A shape that disagrees with the document is a CodecError with the URL, both shapes, and what to do."""
    with pytest.raises(CodecError, match=r"^https://x/t\.tif: .*" + message) as raised:
        fit(pixels(*shape), dims, request(stated))
    assert (raised.value.url, raised.value.value) == ("https://x/t.tif", shape)
    with pytest.raises(CodecError, match=message):
        fit_header(TileHeader(shape, dims, np.dtype(np.uint16)), request(stated))


def test_transposed_is_said_only_where_it_is_so():
    """A square tile, and one of another size, are not called transposed."""
    with pytest.raises(CodecError, match="states") as raised:
        fit(pixels(5, 6), YX, request({"y": 4, "x": 5}))
    assert "transposed" not in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "dims"),
    [((20,), ANY), ((), ()), ((2, 2, 2, 4, 5), ANY * 5), ((2, 3, 4, 5), ("t", "c", "y", "x"))],
)
def test_shapes_without_a_reading_are_refused(shape, dims):
    """Where the document states nothing, fewer than two axes, or two axes besides y, x, s, are an error."""
    with pytest.raises(CodecError, match=r"but a tile has y, x, at most one further axis z, and samples\. Write"):
        fit(pixels(*shape), dims, request())


@pytest.mark.parametrize("shape", [{"y": 4}, {"y": 4, "x": 5, "c": 2}, {}])
def test_stated_shapes_need_y_and_x(shape):
    """A stated shape without y and x, or with an axis that no tile has, is an error that shows it."""
    with pytest.raises(CodecError, match=r"tile_shape must state y and x, and may state z, got \{"):
        fit(pixels(4, 5), YX, request(shape))


# (shape in the file, its dims, dims wanted, how numpy gets the expected array)
WANTED = {
    "as it is": ((4, 5), YX, YX, lambda a: a),
    "z added": ((4, 5), YX, ZYX, lambda a: a[None]),
    "s added": ((4, 5), YX, YXS, lambda a: a[..., None]),
    "both added": ((4, 5), YX, ("z", *YXS), lambda a: a[None, ..., None]),
    "z added to rgb": ((4, 5, 3), YXS, ("z", *YXS), lambda a: a[None]),
    "in another order": ((3, 4, 5), ZYX, ("y", "x", "z"), lambda a: np.moveaxis(a, 0, -1)),
}


@pytest.mark.parametrize(("shape", "dims", "wanted", "op"), WANTED.values(), ids=WANTED)
def test_exactly_the_axes_wanted_come(shape, dims, wanted, op):
    """Axes of one element are added where they are wanted, and axes come in the order wanted."""
    array = pixels(*shape)
    np.testing.assert_array_equal(fit(array, dims, request(), wanted), op(array), strict=True)


def test_an_axis_of_one_that_is_not_wanted_is_dropped():
    """A stated z of one does not come where only y and x are wanted."""
    array = pixels(4, 5)
    fitted = fit(array, YX, request({"z": 1, "y": 4, "x": 5}), YX)
    np.testing.assert_array_equal(fitted, array, strict=True)


def test_samples_that_are_not_wanted_are_an_error():
    """An RGB tile in a set of grey tiles is refused, and the message tells the axes of both."""
    with pytest.raises(
        CodecError, match=r"has shape \(4, 5, 3\) \(y, x, s\), but the tiles of this set have the axes \(y, x\)"
    ):
        fit(pixels(4, 5, 3), YXS, request(), YX)


SIZES = st.integers(1, 4)


@settings(deadline=None)
@given(
    sizes=st.tuples(SIZES, SIZES, SIZES),
    has_z=st.booleans(),
    ones=st.lists(st.integers(0, 5), max_size=3),
)
def test_axes_of_one_anywhere_change_nothing(sizes, has_z, ones):
    """An NPY array as the document states it is the same array, wherever axes of one element are put into it."""
    stated = dict(zip(("z", "y", "x"), sizes, strict=True))
    if not has_z:
        del stated["z"]
    array = np.arange(np.prod(list(stated.values()))).reshape(tuple(stated.values()))
    widened = array
    for at in ones:
        widened = np.expand_dims(widened, min(at, widened.ndim))
    fitted = fit(widened, ANY * widened.ndim, request(stated))
    np.testing.assert_array_equal(fitted, array, strict=True)


def test_unknown_planes_are_the_stated_ones():
    """A header that leaves the number of planes open is fitted by the document's z."""
    header = TileHeader((-1, 4, 5), ZYX, np.dtype(np.uint16))
    assert fit_header(header, request({"z": 7, "y": 4, "x": 5})).shape == (7, 4, 5)


def test_unknown_planes_need_a_stated_z():
    """A header that leaves the number of planes open is an error where the document does not state z."""
    header = TileHeader((-1, 4, 5), ZYX, np.dtype(np.uint16))
    with pytest.raises(CodecError, match=r"too many planes to count them .* State z in tile_shape\."):
        fit_header(header, request())
