"""Which codec reads a tile, and what the doors do before it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tilefiles import npy_bytes, pillow_bytes, pixels, read_header, request, tiff_bytes

from slicedfs.codecs import TileHeader, decode, known_formats, register, registry
from slicedfs.errors import CodecError, MissingExtraError
from slicedfs.ranges import ByteRange

ARRAY = pixels(40, 50, dtype=np.uint8)
FILES = {
    "NUMPY": npy_bytes(ARRAY),
    "TIFF": tiff_bytes(ARRAY),
    "PNG": pillow_bytes(ARRAY, "PNG"),
}
NAMES = {
    "NUMPY": ["NUMPY", "numpy", "Numpy", "npy", "NPY", " numpy "],
    "TIFF": ["TIFF", "tiff", "tif", "TIF", "Tiff"],
    "PNG": ["PNG", "png", "Png"],
}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """Forget what a test registers."""
    monkeypatch.setattr(registry, "_codecs", dict(registry._codecs))


@pytest.mark.parametrize(("format_", "name"), [(key, name) for key, names in NAMES.items() for name in names])
def test_names_in_any_case_and_aliases_are_known(format_, name):
    """The names of the format, its aliases, in any case, read a tile of it."""
    np.testing.assert_array_equal(decode(FILES[format_], request(format=name)), ARRAY, strict=True)


@pytest.mark.parametrize("name", ["JPEG", "jpg", "JPEG2000", "jp2", "WEBP", "JPEGXL", "jxl", "AVIF"])
def test_further_names_are_known(name):
    """The other formats are known by name and alias: a damaged tile of them is damaged, not of an unknown format."""
    with pytest.raises(CodecError, match=r"cannot be read as (JPEG|JPEG2000|WEBP|JPEGXL|AVIF) \(8 bytes\)"):
        decode(b"Q" * 8, request(format=name))


def test_known_formats_are_listed():
    """The formats that contract section 7 names are known."""
    assert known_formats() == ("AVIF", "JPEG", "JPEG2000", "JPEGXL", "NUMPY", "PNG", "RAW", "TIFF", "WEBP")


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.parametrize("extension", ["", ".dat", ".tif", ".NPY"])
def test_content_tells_the_format_where_nothing_states_it(data, extension):
    """Without a stated format, the first bytes tell it, whatever the extension."""
    np.testing.assert_array_equal(decode(data, request(extension=extension)), ARRAY, strict=True)
    assert read_header(data, request(extension=extension))[0].shape == (40, 50)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
@pytest.mark.parametrize("stated", ["TIFF", "NUMPY", "PNG", "JPEG"])
def test_content_wins_over_the_stated_format(data, stated, recwarn):
    """A file of another known format than the document states is read as what it is, without a warning."""
    np.testing.assert_array_equal(decode(data, request(format=stated)), ARRAY, strict=True)
    assert list(recwarn) == []


@pytest.mark.parametrize(
    ("extension", "format_"),
    [
        (".tif", "TIFF"),
        (".TIFF", "TIFF"),
        (".btf", "TIFF"),
        (".npy", "NUMPY"),
        (".png", "PNG"),
        (".jpg", "JPEG"),
        (".jp2", "JPEG2000"),
    ],
)
def test_the_extension_names_the_format_of_damaged_files(extension, format_):
    """Where the first bytes are of no known format, the extension says what the file should have been."""
    with pytest.raises(CodecError, match=rf"cannot be read as {format_} \(8 bytes\)"):
        decode(b"Q" * 8, request(extension=extension))


def test_the_stated_format_counts_before_the_extension():
    """tile_format wins over the extension."""
    with pytest.raises(CodecError, match=r"cannot be read as TIFF"):
        decode(b"Q" * 8, request(format="TIFF", extension=".npy"))


@pytest.mark.parametrize("format_", ["FOO", "", "TIFFF"])
def test_unknown_formats_name_the_tile_and_the_known_ones(format_):
    """An unknown format is an error with the tile, the format, and all that are known; of a good file too."""
    message = (
        rf"^https://x/t\.tif: is of the format '{format_}', which is not known \(known: AVIF, JPEG, JPEG2000, JPEGXL, "
        r"NUMPY, PNG, RAW, TIFF, WEBP\)\. Correct tile_format in the document, or register a codec\.$"
    )
    with pytest.raises(CodecError, match=message) as raised:
        decode(FILES["TIFF"], request(format=format_))
    assert (raised.value.url, raised.value.value) == ("https://x/t.tif", format_)
    with pytest.raises(CodecError, match=message):
        read_header(FILES["TIFF"], request(format=format_))


def test_unknown_contents_name_the_known_formats():
    """A file without a known beginning, of which nothing is stated, is an error that shows its first bytes."""
    with pytest.raises(
        CodecError, match=r"states no format, and its first bytes b'QQQQQQQQQQQQ' are of none that is known \(AVIF, "
    ):
        decode(b"Q" * 20, request(extension=".dat"))


DOCUMENTS = {
    "HTML": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "S3": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code></Error>',
    "JSON": b'{"error": "no such tile"}',
    "list": b"[1, 2]",
    "BOM": b"\xef\xbb\xbf<html>",
    "UTF-16": "\ufeff<html>".encode("utf-16-le"),
    "UTF-16, big-endian": "\ufeff<html>".encode("utf-16-be"),
    "blank lines": b"\r\n\t <html>",
}


@pytest.mark.parametrize("data", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("format_", [None, "TIFF", "NUMPY", "PNG", "JPEG", "WEBP"])
def test_documents_are_called_documents(data, format_):
    """An error page or message in place of a tile is called so, and its beginning is shown, escaped."""
    for door in (decode, read_header):
        with pytest.raises(CodecError, match=r"t\.tif: the server returned a document, not an image: b['\"]") as raised:
            door(data, request(format=format_))
        assert repr(data[:80]) in str(raised.value)


def test_long_documents_are_cut():
    """Of a long document 80 bytes are shown."""
    with pytest.raises(CodecError, match=r"not an image: b'<{80}'\. Open the URL in a browser"):
        decode(b"<" * 5000, request())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"PK\x03\x04" + bytes(30), r"is a ZIP archive \(an \.npz file\?\), not an image"),
        (b"\x1f\x8b\x08" + bytes(30), r"is gzip-compressed, not an image"),
        (b"\x28\xb5\x2f\xfd" + bytes(30), r"is zstd-compressed, not an image"),
        (b"\x89HDF\r\n\x1a\n" + bytes(30), r"is an HDF5 file, not an image"),
    ],
)
def test_containers_are_refused_by_name(data, what):
    """An .npz file, a compressed tile, HDF5: the message says what the file is, whatever the document states."""
    for format_ in (None, "NUMPY", "TIFF"):
        with pytest.raises(CodecError, match=what + r"\. Unpack it, and list the files inside\."):
            decode(data, request(format=format_))


@pytest.mark.parametrize("format_", [None, "TIFF", "NUMPY", "PNG", "JPEG", "AVIF"])
def test_empty_files_are_called_empty(format_):
    """A file of no bytes is an error that says so, in both doors."""
    for door in (decode, read_header):
        with pytest.raises(CodecError, match=r"^https://x/t\.tif: is empty \(0 bytes\)\."):
            door(b"", request(format=format_))


class Constant:
    """A codec whose files are a number, and whose pixels are that number."""

    name = "CONSTANT"
    extensions = (".const",)

    def matches(self, head):
        return head.startswith(b"CONST")

    def probe(self, url):
        head = yield ByteRange(0, 6)
        yield ByteRange(100_000, 100_004)
        return TileHeader((1, 4, 5), ("z", "y", "x"), np.dtype(type(head[5])))

    def decode(self, data, request):
        return np.full((1, 4, 5), data[5]), ("z", "y", "x")


def test_registered_codecs_read_by_name_extension_and_content():
    """A codec that a user registers is found in all three ways, and its arrays are fitted like others."""
    register(Constant())
    assert "CONSTANT" in known_formats()
    for wanted in (request(format="constant"), request(extension=".const"), request()):
        np.testing.assert_array_equal(decode(b"CONST\x07", wanted), np.full((4, 5), 7), strict=True)


def test_a_codec_that_reads_anything_is_not_overruled():
    """Bytes that the stated codec takes as its own are not taken for another format: raw pixels have no magic bytes."""

    class Anything(Constant):
        def matches(self, head):
            return True

    register(Anything())
    for data in (*FILES.values(), b"{}      "):
        np.testing.assert_array_equal(decode(data, request(format="constant")), np.full((4, 5), data[5]), strict=True)


def test_probe_answers_from_the_first_range():
    """What a codec asks for inside the first 16 KiB costs no further range; what lies outside is asked for as it is."""
    register(Constant())
    asked = read_header(b"CONST\x07" + bytes(200_000), request())[1]
    assert asked == [ByteRange(0, 16384), ByteRange(100_000, 100_004)]
    assert read_header(b"CONST\x07" + bytes(100), request())[1] == [ByteRange(0, 16384)]


def test_codecs_must_return_native_byte_order():
    """An array of foreign byte order from a registered codec is an error that blames the codec."""

    class Foreign(Constant):
        def decode(self, data, request):
            return np.zeros((4, 5), np.dtype(np.uint16).newbyteorder()), ("y", "x")

    register(Foreign())
    with pytest.raises(
        CodecError, match=r"the codec CONSTANT returned dtype\('.u2'\), which is not in native byte order"
    ):
        decode(b"CONST\x07", request())


def install(tmp_path, monkeypatch, source: str, target: str) -> None:
    """Install a package that offers a codec: really, as a directory on sys.path."""
    (tmp_path / "constant_codec.py").write_text(source, "utf-8")
    info = tmp_path / "constant_codec-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: constant-codec\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(f"[slicedfs.codecs]\nCONSTANT = {target}\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "constant_codec", raising=False)


PLUGIN = """
import numpy as np

class Codec:
    name = "CONSTANT"
    extensions = (".const",)

    def matches(self, head):
        return head.startswith(b"CONST")

    def decode(self, data, request):
        return np.full((4, 5), data[5]), ("y", "x")

codec = Codec()
"""


@pytest.mark.parametrize("target", ["constant_codec:Codec", "constant_codec:codec"])
def test_installed_packages_offer_codecs(target, tmp_path, monkeypatch):
    """An entry point of the group slicedfs.codecs, a class or an object, is a codec; it is imported when needed."""
    install(tmp_path, monkeypatch, PLUGIN, target)
    assert "CONSTANT" in known_formats()
    decode(FILES["TIFF"], request(format="TIFF"))
    assert "constant_codec" not in sys.modules
    np.testing.assert_array_equal(decode(b"CONST\x07", request(format="constant")), np.full((4, 5), 7), strict=True)


def test_broken_packages_are_named(tmp_path, monkeypatch):
    """A codec that cannot be imported fails where its format is asked for, with the reason; other tiles are read."""
    install(tmp_path, monkeypatch, "raise RuntimeError('no libfoo')", "constant_codec:Codec")
    with pytest.raises(
        CodecError,
        match=r"the codec 'constant_codec:Codec' for the format 'CONSTANT' cannot be loaded: no libfoo\. Repair",
    ):
        decode(b"CONST\x07", request(format="CONSTANT"))
    np.testing.assert_array_equal(decode(FILES["PNG"], request(format="PNG")), ARRAY, strict=True)


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
import json
from slicedfs.codecs import TileRequest, decode
from slicedfs.errors import SlicedfsError
outcome = {}
for name, text in json.load(sys.stdin).items():
    try:
        outcome[name] = decode(bytes.fromhex(text), TileRequest(name)).tolist()
    except SlicedfsError as error:
        outcome[name] = f"{type(error).__name__} {error}"
json.dump(outcome, sys.stdout)
"""


def test_without_imagecodecs():
    """Raw, deflate, PackBits TIFF, NUMPY, PNG and JPEG are read without the extra; the others name it."""
    import imagecodecs

    array = ARRAY[:8, :9].astype(np.uint16)
    read = {
        "raw": tiff_bytes(array),
        "deflate": tiff_bytes(array, compression="zlib", predictor=2),
        "packbits": tiff_bytes(array.astype("u1"), compression="packbits"),
        "lzma": tiff_bytes(array, compression="lzma"),
        "npy": npy_bytes(array),
        "png": pillow_bytes(array, "PNG"),
    }
    refused = {
        "lzw": tiff_bytes(array, compression="lzw"),
        "zstd": tiff_bytes(array, compression="zstd"),
        "jpegxl": tiff_bytes(array, compression="jpegxl"),
        "float predictor": tiff_bytes(array.astype("f4"), compression="zlib", predictor=3),
        "rgb16": imagecodecs.png_encode(np.dstack([array] * 3)),
        "jp2": imagecodecs.jpeg2k_encode(array, level=0),
    }
    files = {name: data.hex() for name, data in (read | refused).items()}
    command = [sys.executable, "-c", WITHOUT_IMAGECODECS]
    done = subprocess.run(command, input=json.dumps(files), capture_output=True, text=True, check=True)
    outcome = json.loads(done.stdout)
    assert {name: outcome[name] for name in read} == dict.fromkeys(read, array.tolist())
    for name in refused:
        assert outcome[name].startswith(f"MissingExtraError {name}: "), outcome[name]
        assert outcome[name].endswith("needs imagecodecs. pip install 'slicedfs[codecs]'")


def test_formats_of_the_extra_name_it(monkeypatch):
    """Without imagecodecs a tile of one of its formats is a MissingExtraError, an ImportError, in both doors."""
    import imagecodecs

    data = imagecodecs.jpeg2k_encode(ARRAY, level=0)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for door in (decode, read_header):
        with pytest.raises(
            MissingExtraError, match=r"the format JPEG2000 needs imagecodecs\. pip install 'slicedfs\[codecs\]'"
        ) as raised:
            door(data, request())
        assert isinstance(raised.value, ImportError)


def test_importing_the_package_loads_no_decoder():
    """Neither tifffile nor Pillow nor imagecodecs is imported before a tile of theirs is read."""
    code = "import sys, slicedfs.codecs; print([m for m in ('tifffile', 'PIL', 'imagecodecs') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
