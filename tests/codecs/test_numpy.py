"""NUMPY tiles; the oracle is numpy.save, and headers written by hand."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tilefiles import npy_by_hand, npy_bytes, pixels, read_header, request

from slicedfs.codecs import TileHeader, decode
from slicedfs.errors import CodecError
from slicedfs.ranges import ByteRange

DTYPES = "?", "u1", "i1", "<u2", ">u2", "<i2", ">i4", "u4", "i8", "u8", "<f2", ">f4", "f8", "<c8", ">c16"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5)])
def test_every_dtype_and_order_comes_back(dtype, order, shape):
    """The array saved is the array read, in native byte order, and the header says so."""
    array = np.asarray(pixels(*shape, dtype=dtype), order=order)
    data = npy_bytes(array)
    native = array.astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(decode(data, request()), native, strict=True)
    header, asked = read_header(data, request())
    assert (header.shape, header.dtype, asked) == (shape, native.dtype, [ByteRange(0, 16384)])


def test_native_arrays_are_views_of_the_bytes():
    """Decoding copies nothing where the byte order is the machine's, and the bytes cannot be written to."""
    data = npy_bytes(pixels(300, 400))
    array = decode(data, request())
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))
    assert not array.flags.writeable


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_read(kind):
    """Bytes, bytearrays and memoryviews give the same array."""
    array = pixels(4, 5)
    np.testing.assert_array_equal(decode(kind(npy_bytes(array)), request()), array, strict=True)


def test_a_memoryview_of_numbers_is_read_as_bytes():
    """A memoryview whose items are wider than a byte is the same file."""
    data = npy_bytes(pixels(4, 4))
    np.testing.assert_array_equal(decode(memoryview(data).cast("I"), request()), pixels(4, 4), strict=True)


def test_nan_and_extremes_survive():
    """NaN, infinities, and integers above 2**31 come back bit for bit."""
    for array in (
        np.array([[np.nan, np.inf], [-np.inf, -0.0]]),
        np.array([[2**32 - 1, 2**31]], np.uint32),
        np.array([[-128, 127]], np.int8),
    ):
        assert decode(npy_bytes(array), request()).tobytes() == array.tobytes()


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 11, 53, 9000])
def test_headers_of_any_version_and_length_are_read(version, padding):
    """The pixels start behind the header, however long and unaligned it is."""
    array = pixels(4, 5, dtype="<u2")
    text = "{'descr': '<u2', 'fortran_order': False, 'shape': (4, 5), }" + " " * padding + "\n"
    data = npy_by_hand(text, array.tobytes(), version)
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)
    assert read_header(data, request())[0] == TileHeader((4, 5), ("y", "x"), np.dtype("<u2"))


def test_old_descriptors_are_read():
    """A descriptor without byte order is native, and Python's repr of long integers is not needed for any of them."""
    text = "{'descr': 'u2', 'fortran_order': False, 'shape': (2, 3), }\n"
    np.testing.assert_array_equal(
        decode(npy_by_hand(text, bytes(range(12))), request()), np.arange(12, dtype="u1").view("u2").reshape(2, 3)
    )


def test_bytes_behind_the_array_are_ignored():
    """A file that is longer than its array is read, as numpy reads it."""
    array = pixels(4, 5)
    np.testing.assert_array_equal(decode(npy_bytes(array) + bytes(1024), request()), array, strict=True)


@pytest.mark.parametrize("missing", [1, 39, 40])
def test_truncated_pixels_are_an_error_with_the_sizes(missing):
    """A file that lacks bytes of its array, be it one, is a CodecError that tells how many there should be."""
    data = npy_bytes(pixels(4, 5))
    with pytest.raises(
        CodecError,
        match=rf"cannot be read as NUMPY \({168 - missing} bytes\): \(4, 5\) of uint16 need 168 bytes with the header; "
        r"it is cut short\. Check the file",
    ):
        decode(data[:-missing], request())


@pytest.mark.parametrize("stop", [7, 8, 9, 10, 11, 127])
def test_truncated_headers_are_an_error(stop):
    """A file that ends inside its header is a CodecError, in decode and in probe."""
    data = npy_bytes(pixels(4, 5))[:stop]
    with pytest.raises(CodecError, match=r"cannot be read as NUMPY"):
        decode(data, request())
    with pytest.raises(CodecError, match=r"cannot be read as NUMPY"):
        read_header(data, request())


def header_text(descr="'<u2'", fortran="False", shape="(4, 5)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


BAD_HEADERS = {
    "objects": (header_text("'|O'"), r"dtype is '\|O'; .* objects are never unpickled"),
    "structured": (header_text("[('a', '<u2'), ('b', '<u2')]"), r"dtype is \"?\[\('a', '<u2'\), \('b', '<u2'\)\]"),
    "void": (header_text("'|V2'"), r"dtype is '\|V2'; tiles are booleans, integers, floats or complex numbers"),
    "text": (header_text("'<U1'"), r"dtype is '<U1'"),
    "dates": (header_text("'<M8[ns]'"), r"dtype is '<M8\[ns\]'"),
    "several": (header_text("'<u2,<u2'"), r"dtype is '<u2,<u2'"),
    "no such float": (header_text("'<f3'"), r"cannot be read as NUMPY"),
    "negative": (header_text(shape="(-4, 5)"), r"shape must be a tuple of integers >= 0, got \(-4, 5\)"),
    "float": (header_text(shape="(4.0, 5)"), r"shape must be a tuple of integers >= 0, got \(4\.0, 5\)"),
    "bool": (header_text(shape="(True, 5)"), r"shape must be a tuple of integers >= 0"),
    "list": (header_text(shape="[4, 5]"), r"shape must be a tuple of integers >= 0, got \[4, 5\]"),
    "65 axes": (header_text(shape=str((1,) * 65)), r"shape must be a tuple of integers >= 0"),
    "order": (header_text(fortran="1"), r"fortran_order must be True or False, got 1"),
    "no dict": ("[]\n", r"its header is not a dict of descr, fortran_order and shape, but b'\[\]"),
    "no shape": ("{'descr': '<u2', 'fortran_order': False}\n", r"its header is not a dict"),
    "more keys": (header_text()[:-2] + "'x': 1}\n", r"its header is not a dict"),
    "code": ("__import__('os').system('false')\n", r"cannot be read as NUMPY"),
    "brackets": ("(" * 5000, r"cannot be read as NUMPY"),
    "minuses": ("-" * 9000 + "1", r"cannot be read as NUMPY"),
    "too long": (" " * 10_001, r"its header claims 10,001 bytes, the limit is 10,000"),
    "empty": ("", r"cannot be read as NUMPY"),
}


@pytest.mark.parametrize(("text", "message"), BAD_HEADERS.values(), ids=BAD_HEADERS)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_headers_that_are_not_of_numbers_are_refused(text, message, version):
    """A header that numpy would unpickle, evaluate or fail on in its own way is a CodecError that says why."""
    data = npy_by_hand(text, bytes(40), version)
    with pytest.raises(CodecError, match=message):
        decode(data, request())
    with pytest.raises(CodecError, match=message):
        read_header(data, request())


def test_unknown_versions_are_refused():
    """A version that is not 1, 2 or 3 is named, with those that can be read."""
    data = bytearray(npy_bytes(pixels(4, 5)))
    data[6] = 4
    with pytest.raises(
        CodecError, match=r"its version is \(4, 0\), those that can be read are \(1, 0\), \(2, 0\), \(3, 0\)"
    ):
        decode(data, request())


class Exploit:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_pickles_are_never_loaded(tmp_path):
    """Neither an array of objects nor a bare pickle runs code; both are refused."""
    trap = tmp_path / "executed"
    array = np.empty(1, object)
    array[0] = Exploit(trap)
    with pytest.raises(CodecError, match=r"objects are never unpickled"):
        decode(npy_bytes(array), request())
    with pytest.raises(CodecError, match=r"it does not start with b'\\x93NUMPY'"):
        decode(pickle.dumps(Exploit(trap)), request(format="NUMPY"))
    assert not trap.exists()
    pickle.loads(pickle.dumps(Exploit(trap)))
    assert trap.exists(), "the exploit must work, or the test proves nothing"


@pytest.mark.parametrize("shape", ["(0, 256)", "(4, 0)", "()"])
def test_shapes_without_pixels_are_refused(shape):
    """A tile of no pixels is an error that shows its shape."""
    with pytest.raises(CodecError, match=r"declares the shape \([0-9, ]*\), which holds no pixels"):
        decode(npy_by_hand(header_text(shape=shape), bytes(2)), request())


@pytest.mark.parametrize("shape", ["(2**40,)", "(1099511627776,)", "(65536, 65536)", "(18446744073709551616, 2)"])
def test_declared_bombs_are_refused_before_allocation(shape):
    """A header that claims more than max_bytes costs no memory: the error comes first."""
    data = npy_by_hand(header_text(shape=shape), bytes(100))
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match=r"declares [0-9,]+ bytes of pixels|cannot be read as NUMPY"):
            decode(data, request())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_max_bytes_is_the_limit_itself():
    """A tile of exactly max_bytes is read, one byte less of it is refused by name."""
    data = npy_bytes(pixels(4, 5))
    assert decode(data, request(max_bytes=40)).nbytes == 40
    with pytest.raises(
        CodecError,
        match=r"t\.tif: declares 40 bytes of pixels, shape \(4, 5\) of uint16, but a tile may have 39\. "
        r"Raise max_tile_bytes if the file is right\.",
    ):
        decode(data, request(max_bytes=39))


def test_a_contradiction_is_found_before_the_pixels_are_needed():
    """The stated shape is compared with the header's first: a truncated file of the wrong shape says so."""
    data = npy_bytes(pixels(5, 4))[:130]
    with pytest.raises(CodecError, match=r"but the document states \(4, 5\); it looks transposed"):
        decode(data, request({"y": 4, "x": 5}))


@settings(deadline=None)
@given(
    array=hnp.arrays(
        dtype=hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.unsigned_integer_dtypes() | hnp.floating_dtypes(),
        shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    ),
    fortran=st.booleans(),
)
def test_whatever_numpy_saves_is_read(array, fortran):
    """Any plane that numpy saves is read back bit for bit."""
    array = np.asarray(array, order="F" if fortran else "C")
    got = decode(npy_bytes(array), request())
    native = array.astype(array.dtype.newbyteorder("="))
    assert (got.dtype, got.shape, got.tobytes()) == (native.dtype, native.shape, native.tobytes())
