"""JPEG tiles; the oracle is Pillow's own reader, given the same file."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
from tilefiles import pillow_bytes, read_header, request

from slicedfs.codecs import TileHeader, decode
from slicedfs.errors import CodecError, MissingExtraError
from slicedfs.ranges import ByteRange


def picture(*shape: int) -> np.ndarray:
    """Return a smooth picture, which JPEG changes little."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    planes = [(3 * y + 2 * x + 40 * s) % 256 for s in range(shape[2] if len(shape) == 3 else 1)]
    return np.stack(planes, -1).astype(np.uint8).reshape(shape)


def by_pillow(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))


GREY = pillow_bytes(picture(64, 80), "JPEG", quality=95)
COLOUR = pillow_bytes(picture(64, 80, 3), "JPEG", quality=95)
CMYK = pillow_bytes(picture(64, 80, 3), "JPEG", mode="CMYK", quality=95)
KINDS = {
    "grey": (GREY, (64, 80)),
    "rgb": (COLOUR, (64, 80, 3)),
    "cmyk": (CMYK, (64, 80, 4)),
    "progressive": (pillow_bytes(picture(64, 80), "JPEG", progressive=True), (64, 80)),
    "restart markers": (pillow_bytes(picture(64, 80), "JPEG", restart_marker_blocks=2), (64, 80)),
    "subsampled": (pillow_bytes(picture(63, 81, 3), "JPEG", subsampling=2), (63, 81, 3)),
    "comment": (pillow_bytes(picture(64, 80), "JPEG", comment=b"\xff\xd9" * 40), (64, 80)),
    "one pixel": (pillow_bytes(picture(1, 1), "JPEG"), (1, 1)),
}


@pytest.mark.parametrize(("data", "shape"), KINDS.values(), ids=KINDS)
def test_pixels_are_those_that_pillow_gives(data, shape):
    """Grey, RGB, CMYK, progressive: the array is Pillow's, and the header says its shape."""
    expected = by_pillow(data)
    assert expected.shape == shape
    np.testing.assert_array_equal(decode(data, request()), expected, strict=True)
    dims = ("y", "x", "s")[: len(shape)]
    assert read_header(data, request()) == (TileHeader(shape, dims, np.dtype(np.uint8)), [ByteRange(0, 16384)])


def test_pixels_are_near_the_original():
    """What comes back is the picture, not noise of the right shape."""
    error = decode(GREY, request()).astype(int) - picture(64, 80).astype(int)
    assert np.median(np.abs(error)) <= 3


def exif(orientation: int, padding: int = 0) -> bytes:
    """Return an APP1 segment with an orientation, and a picture's end-of-image marker in it."""
    text = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + bytes(4)
    text += b"\xff\xd8\xff\xd9" + bytes(padding)
    return b"\xff\xe1" + struct.pack(">H", len(text) + 2) + text


def test_orientation_is_not_applied():
    """EXIF's orientation neither turns nor mirrors the pixels."""
    data = COLOUR[:2] + exif(6) + COLOUR[2:]
    from PIL import Image

    assert Image.open(io.BytesIO(data)).getexif()[0x112] == 6
    np.testing.assert_array_equal(decode(data, request()), by_pillow(COLOUR), strict=True)


def test_a_damaged_exif_changes_nothing():
    """A broken EXIF segment is neither a warning nor an error."""
    segment = b"\xff\xe1" + struct.pack(">H", 40) + b"Exif\0\0II*\0" + b"\xff" * 28
    data = COLOUR[:2] + segment + COLOUR[2:]
    np.testing.assert_array_equal(decode(data, request()), by_pillow(COLOUR), strict=True)


def test_a_header_behind_large_profiles_is_found():
    """A frame header behind 100 kB of EXIF is read by further ranges of 16 KiB each, no more of them than needed."""
    data = COLOUR[:2] + exif(1, 50_000) * 2 + COLOUR[2:]
    header, asked = read_header(data, request())
    assert header.shape == (64, 80, 3)
    assert asked == [ByteRange(16384 * i, 16384 * (i + 1)) for i in range(7)]


def test_fill_bytes_between_segments_are_allowed():
    """Any number of 0xFF may precede a marker."""
    data = COLOUR[:2] + b"\xff" * 5 + COLOUR[2:]
    np.testing.assert_array_equal(decode(data, request()), by_pillow(COLOUR), strict=True)


def test_bytes_behind_the_end_are_ignored():
    """A file with appended bytes, or a second picture, is read as the first picture."""
    for trailer in (bytes(1000), GREY):
        np.testing.assert_array_equal(decode(COLOUR + trailer, request()), by_pillow(COLOUR), strict=True)


@pytest.mark.parametrize("tolerant", [False, True], ids=["", "LOAD_TRUNCATED_IMAGES"])
@pytest.mark.parametrize("source", [GREY, COLOUR, KINDS["progressive"][0], COLOUR[:2] + exif(1) + COLOUR[2:]])
@pytest.mark.parametrize("kept", [0.25, 0.5, 0.9, -2, -1])
def test_truncation_is_an_error(kept, source, tolerant, monkeypatch):
    """A file without its end is never filled with grey, whatever Pillow's global settings say."""
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    stop = kept if isinstance(kept, int) else int(len(source) * kept)
    with pytest.raises(CodecError, match=r"cannot be read as JPEG \([0-9,]+ bytes\): it is cut short"):
        decode(source[:stop], request())


def frame_at(data: bytes) -> int:
    """Return the position of the frame header's marker."""
    return next(i for i in range(2, len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))


def with_size(data: bytes, height: int, width: int) -> bytes:
    at = frame_at(data) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize(("height", "width"), [(0, 80), (64, 0)])
def test_a_header_without_pixels_is_an_error(height, width):
    """A height or width of 0 is refused in decode and in probe (DNL, which gives the height later, is not read)."""
    data = with_size(GREY, height, width)
    with pytest.raises(CodecError, match=rf"its frame header states {height} x {width} pixels, 1 samples of 8 bits"):
        decode(data, request())
    with pytest.raises(CodecError, match=r"its frame header states"):
        read_header(data, request())


def test_declared_bombs_are_refused_before_allocation():
    """A header that claims 65500 x 65500 pixels costs no memory."""
    data = with_size(GREY, 65500, 65500)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match=r"declares 4,290,250,000 bytes of pixels"):
            decode(data, request())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_lying_height_contradicts_the_document():
    """A doubled height is found by the stated shape, before decoding."""
    with pytest.raises(CodecError, match=r"has shape \(128, 80\) \(y, x\), but the document states \(64, 80\)\."):
        decode(with_size(GREY, 128, 80), request({"y": 64, "x": 80}))


def test_large_pictures_need_no_permission_of_pillow(monkeypatch):
    """Pillow's global limit of pixels neither warns nor refuses: max_bytes is the limit."""
    from PIL import Image

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode(GREY, request()).shape == (64, 80)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8\xff\xd9", r"no frame header is in it"),
        (b"\xff\xd8\xff", r"it is cut short before its frame header"),
        (b"\xff\xd8\xff\xe0\0\x04ab" + bytes(9), r"a marker is expected at byte 8"),
        (b"\xff\xd8\xff\xe0\0\x00", r"cannot be read as JPEG"),
        (GREY[: frame_at(GREY)] + b"\xff\xc0\0\x04\x08\0" + GREY[-2:], r"its frame header is cut short"),
        (GREY[: frame_at(GREY)] + GREY[-2:], r"no frame header is in it"),
    ],
)
def test_structures_that_are_not_jpeg_are_an_error(data, message):
    """Files of markers without a sound frame header are CodecErrors that say what is missing."""
    with pytest.raises(CodecError, match=message):
        decode(data, request(format="JPEG"))


def test_probe_of_endless_segments_ends():
    """A file whose segments never come to a frame header is given up with an error."""
    data = b"\xff\xd8" + (b"\xff\xe2\xff\xff" + bytes(65533)) * 80
    with pytest.raises(CodecError, match=r"cannot be read as JPEG .*: no frame header is in it"):
        read_header(data, request())


TWELVE = (picture(64, 80).astype(np.uint16) * 16) + 5


def test_twelve_bits_are_read_with_imagecodecs():
    """A JPEG of 12 bits per sample is uint16, and near the original."""
    import imagecodecs

    data = imagecodecs.jpeg8_encode(TWELVE, bitspersample=12, level=98)
    array = decode(data, request())
    assert (array.dtype, array.shape) == (np.uint16, (64, 80))
    np.testing.assert_array_equal(array, imagecodecs.jpeg8_decode(data))
    assert np.median(np.abs(array.astype(int) - TWELVE)) < 100
    assert read_header(data, request())[0] == TileHeader((64, 80), ("y", "x"), np.dtype(np.uint16))


def test_twelve_bits_without_imagecodecs_name_the_extra(monkeypatch):
    """Without imagecodecs, 12 bits per sample are a MissingExtraError, never 8 bits."""
    import sys

    import imagecodecs

    data = imagecodecs.jpeg8_encode(TWELVE, bitspersample=12)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(
        MissingExtraError, match=r"JPEG of 12 bits per sample needs imagecodecs\. pip install 'slicedfs\[codecs\]'"
    ):
        decode(data, request())
