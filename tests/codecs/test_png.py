"""PNG tiles; the oracles are files written byte by byte, and by Pillow and imagecodecs."""

import struct
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tilefiles import (
    ADAM7,
    PNG_MAGIC,
    ihdr,
    pillow_bytes,
    pixels,
    png_by_hand,
    png_chunk,
    png_scanlines,
    read_header,
    request,
)

from slicedfs.codecs import TileHeader, decode
from slicedfs.errors import CodecError, MissingExtraError
from slicedfs.ranges import ByteRange

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
KINDS = [
    *((GREY, depth) for depth in (1, 2, 4, 8, 16)),
    *((PALETTE, depth) for depth in (1, 2, 4, 8)),
    *((colour, depth) for colour in (RGB, GREY_ALPHA, RGBA) for depth in (8, 16)),
]
EXACT_ONLY_WITH_EXTRA = [(RGB, 16), (GREY_ALPHA, 16), (RGBA, 16)]


@pytest.fixture(params=["imagecodecs", "Pillow"])
def library(request, monkeypatch):
    """Run the test with imagecodecs, and as if it were not installed."""
    if request.param == "Pillow":
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
    return request.param


def samples_of(colour: int, depth: int, height: int = 13, width: int = 11) -> np.ndarray:
    shape = (height, width) if SAMPLES[colour] == 1 else (height, width, SAMPLES[colour])
    values = pixels(*shape, dtype=np.uint16)
    return values if depth == 16 else (values % 2**depth).astype(np.uint8)


def palette(depth: int) -> bytes:
    return png_chunk(b"PLTE", bytes((7 * i + 1) % 256 for i in range(3 * 2**depth)))


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "Adam7"])
@pytest.mark.parametrize(("colour", "depth"), KINDS)
def test_every_kind_gives_the_values_as_stored(colour, depth, interlaced, library):
    """Samples come unscaled and without their palette, of 16 bits where stored so; or not at all."""
    samples = samples_of(colour, depth)
    extra = palette(depth) if colour == PALETTE else b""
    data = png_by_hand(samples, depth, colour, interlaced=interlaced, extra=extra)
    header, asked = read_header(data, request())
    assert (header.shape, header.dtype, asked) == (samples.shape, samples.dtype, [ByteRange(0, 16384)])
    if library == "Pillow" and (colour, depth) in EXACT_ONLY_WITH_EXTRA:
        with pytest.raises(
            MissingExtraError,
            match=r"^https://x/t\.tif: PNG colour of 16 bits per sample needs imagecodecs\. "
            r"pip install 'slicedfs\[codecs\]'$",
        ):
            decode(data, request())
    else:
        np.testing.assert_array_equal(decode(data, request()), samples, strict=True)


@pytest.mark.parametrize(
    ("colour", "depth", "key"), [(GREY, 16, 2), (GREY, 8, 2), (GREY, 1, 2), (RGB, 8, 6), (PALETTE, 4, 5)]
)
def test_transparency_is_not_applied(colour, depth, key, library):
    """A tRNS chunk adds no alpha: the samples stay those of the colour type."""
    samples = samples_of(colour, depth)
    extra = (palette(depth) if colour == PALETTE else b"") + png_chunk(b"tRNS", bytes(key))
    data = png_by_hand(samples, depth, colour, extra=extra)
    np.testing.assert_array_equal(decode(data, request()), samples, strict=True)


EXTRAS = {
    "gAMA": png_chunk(b"gAMA", struct.pack(">I", 45455)),
    "sBIT": png_chunk(b"sBIT", bytes([5])),
    "zTXt bomb": png_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(1 << 26))),
    "damaged": struct.pack(">I", 4) + b"tEXt" + b"a\0bcXXXX",
    "orientation": png_chunk(b"eXIf", b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "animation": png_chunk(b"acTL", struct.pack(">II", 2, 0)),
}


@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
@pytest.mark.parametrize("depth", [8, 16])
def test_other_chunks_change_nothing(extra, depth, library):
    """Gamma, significant bits, texts (a bomb too), orientation and animation leave the pixels as they are."""
    samples = samples_of(GREY, depth)
    data = png_by_hand(samples, depth, GREY, extra=extra)
    np.testing.assert_array_equal(decode(data, request()), samples, strict=True)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3), (40, 50, 4), (40, 50, 2)])
def test_what_imagecodecs_writes_is_read(dtype, shape):
    """Filtered and compressed rows, as another library writes them, are the same pixels."""
    import imagecodecs

    array = pixels(*shape, dtype=dtype)
    np.testing.assert_array_equal(decode(imagecodecs.png_encode(array, level=6), request()), array, strict=True)


@settings(deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_what_pillow_writes_is_read(array):
    """Any grey picture that Pillow writes comes back, without imagecodecs too."""
    data = pillow_bytes(array, "PNG")
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "imagecodecs", None)
        np.testing.assert_array_equal(decode(data, request()), array, strict=True)


@settings(deadline=None)
@given(
    colour_and_depth=st.sampled_from(KINDS),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    interlaced=st.booleans(),
)
def test_any_size_is_read(colour_and_depth, height, width, interlaced):
    """Pictures of any small size are read, those whose interlace passes are empty too."""
    colour, depth = colour_and_depth
    samples = samples_of(colour, depth, height, width)
    extra = palette(depth) if colour == PALETTE else b""
    data = png_by_hand(samples, depth, colour, interlaced=interlaced, extra=extra)
    np.testing.assert_array_equal(decode(data, request()), samples, strict=True)
    header, _ = read_header(data, request())
    assert (header.shape, header.dtype) == (samples.shape, samples.dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_a_black_picture_is_no_damage(dtype, library):
    """Rows of zeros are pixels; only rows that are not in the file are missing."""
    array = np.zeros((40, 50), dtype)
    data = png_by_hand(array, array.dtype.itemsize * 8, GREY)
    np.testing.assert_array_equal(decode(data, request()), array, strict=True)


def body(data: bytes) -> bytes:
    """Return a PNG file of 4 x 5 grey pixels whose scanlines are `data`."""
    return PNG_MAGIC + ihdr(4, 5, 8, GREY) + png_chunk(b"IDAT", zlib.compress(data)) + png_chunk(b"IEND", b"")


def with_flipped_bit(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


SOUND = png_by_hand(pixels(40, 50, dtype=np.uint8), 8, GREY)
DAMAGED = {
    "bad checksum of IDAT": (with_flipped_bit(SOUND, -20), r"the checksum of the chunk b'IDAT' at byte 33 is wrong"),
    "bad checksum of IHDR": (with_flipped_bit(SOUND, 18), r"it does not start with a sound IHDR chunk"),
    "no IEND": (SOUND[:-12], r"it is cut short inside the chunk b'' at byte [0-9,]+"),
    "one byte short": (SOUND[:-1], r"it is cut short inside the chunk b'IEND'"),
    "half": (SOUND[: len(SOUND) // 2], r"it is cut short inside the chunk b'IDAT' at byte 33"),
    "only IHDR": (SOUND[:33], r"it is cut short inside the chunk b'' at byte 33"),
    "IDAT of 4 GiB": (SOUND[:33] + b"\xff" * 4 + SOUND[37:], r"it is cut short inside the chunk b'IDAT'"),
    "rows missing": (body(png_scanlines(np.full((3, 5), 9), 8)), r"cannot be read as PNG"),
    "no rows": (body(b""), r"cannot be read as PNG"),
    "no IDAT": (PNG_MAGIC + ihdr(4, 5, 8, GREY) + png_chunk(b"IEND", b""), r"cannot be read as PNG"),
    "zlib stream cut": (
        PNG_MAGIC
        + ihdr(4, 5, 8, GREY)
        + png_chunk(b"IDAT", zlib.compress(pixels(4, 6).tobytes())[:9])
        + png_chunk(b"IEND", b""),
        r"cannot be read as PNG",
    ),
    "depth 3": (
        PNG_MAGIC + ihdr(4, 5, 3, GREY) + bytes(20),
        r"bit depth 3, colour type 0, .* which PNG does not define",
    ),
    "colour 5": (PNG_MAGIC + ihdr(4, 5, 8, 5) + bytes(20), r"colour type 5"),
    "interlace 2": (PNG_MAGIC + ihdr(4, 5, 8, GREY, 2) + bytes(20), r"interlace 2, which PNG does not define"),
    "no width": (PNG_MAGIC + ihdr(4, 0, 8, GREY) + bytes(20), r"its header states 0 x 4 pixels"),
    "magic only": (PNG_MAGIC, r"it does not start with a sound IHDR chunk"),
}


@pytest.mark.parametrize(("data", "message"), DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("tolerant", [False, True], ids=["", "LOAD_TRUNCATED_IMAGES"])
def test_damage_is_an_error(data, message, tolerant, library, monkeypatch):
    """Damage that the format can tell is a CodecError, whatever Pillow's global settings say."""
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    with pytest.raises(CodecError, match=message):
        decode(data, request(format="PNG"))


def test_an_unknown_filter_is_an_error(library):
    """A scanline of a filter that PNG does not define is not read."""
    with pytest.raises(CodecError, match=r"cannot be read as PNG"):
        decode(body(b"\x09" + bytes(5) + bytes(18)), request())


@pytest.mark.parametrize("interlaced", [False, True], ids=["rows", "Adam7"])
@pytest.mark.parametrize("depth", [1, 8, 16])
def test_a_header_that_claims_more_rows_is_an_error(interlaced, depth, library):
    """Rows that the file does not have are not zeros, where the header's checksum is right too."""
    samples = samples_of(GREY, depth, 16, 20)
    data = png_by_hand(samples, depth, GREY, interlaced=interlaced, height=32)
    with pytest.raises(CodecError, match=r"cannot be read as PNG"):
        decode(data, request())


def test_a_missing_pass_is_an_error(library):
    """An interlaced picture without its last pass is refused, although its last row is complete."""
    samples = samples_of(GREY, 8, 17, 20)
    lines = b"".join(png_scanlines(samples[y::sy, x::sx], 8) for y, x, sy, sx in ADAM7[:-1])
    start = PNG_MAGIC + ihdr(17, 20, 8, GREY, 1)
    with pytest.raises(CodecError, match=r"cannot be read as PNG"):
        decode(start + png_chunk(b"IDAT", zlib.compress(lines)) + png_chunk(b"IEND", b""), request())


def test_bytes_behind_the_end_are_ignored(library):
    """A file with appended bytes is read."""
    array = pixels(40, 50, dtype=np.uint8)
    np.testing.assert_array_equal(decode(SOUND + b"trailer" * 9, request()), array, strict=True)


def test_large_pictures_need_no_permission_of_pillow(library, monkeypatch):
    """Pillow's global limit of pixels neither warns nor refuses: max_bytes is the limit."""
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(SOUND, request()).shape == (40, 50)


def test_declared_bombs_are_refused_before_allocation(library):
    """A header that claims 100,000 x 100,000 pixels costs no memory."""
    data = PNG_MAGIC + ihdr(100_000, 100_000, 8, GREY) + SOUND[33:]
    tracemalloc.start()
    try:
        with pytest.raises(
            CodecError, match=r"declares 10,000,000,000 bytes of pixels, .* but a tile may have 1,073,741,824\."
        ):
            decode(data, request())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_deflate_bomb_is_not_inflated(library):
    """Scanlines that inflate to far more than the header says are read up to what it says."""
    data = PNG_MAGIC + ihdr(4, 5, 8, GREY) + png_chunk(b"IDAT", zlib.compress(bytes(1 << 27))) + png_chunk(b"IEND", b"")
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(decode(data, request()), np.zeros((4, 5), np.uint8), strict=True)
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


def test_a_contradiction_comes_before_decoding():
    """The stated shape is compared with IHDR: a transposed file is called so although its pixels are cut off."""
    with pytest.raises(
        CodecError, match=r"has shape \(40, 50\) \(y, x\), but the document states \(50, 40\); it looks transposed"
    ):
        decode(SOUND[:60], request({"y": 50, "x": 40}))


def test_the_header_tells_samples():
    """Colour has the axis s; its size is the number of samples."""
    data = png_by_hand(samples_of(RGBA, 16), 16, RGBA)
    assert read_header(data, request({"y": 13, "x": 11}))[0] == TileHeader((13, 11, 4), ("y", "x", "s"), np.dtype("u2"))
