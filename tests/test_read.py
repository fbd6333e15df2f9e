"""Reading: fill values, absent files, dtypes, shapes, checksums, limits. What needs no request makes none."""

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image
from smallsets import Bench, npy, plane, tile, tile_set

from slicedfs import (
    ChecksumError,
    CodecError,
    ManifestError,
    MissingTileError,
    MissingTileWarning,
    StoreError,
    explain,
    open_dataarray,
)


@pytest.fixture
def bench(request):
    """Give files in memory, of this test alone: set.json lists a.npy at r=0 and b.npy at r=2, of three."""
    with Bench(request.node.nodeid) as fresh:
        fresh.put_set([tile("a.npy", r=0), tile("b.npy", r=2)], {"r": 3})
        yield fresh


# fill values


@pytest.mark.parametrize(
    ("dtype", "given", "expected"),
    [
        ("uint16", None, 0),
        ("int8", None, 0),
        ("bool", None, False),
        ("float32", None, np.nan),
        ("complex64", None, complex(np.nan)),
        ("uint16", 65535, 65535),
        ("uint16", 7.0, 7),
        ("float32", -1, -1.0),
        ("float32", np.inf, np.inf),
        ("float32", np.float64(0.1), np.float32(0.1)),
        ("float32", np.nan, np.nan),
        ("bool", 1, True),
    ],
)
def test_fill_value(bench, dtype, given, expected):
    """A position without a tile is fill_value, of the dtype of the others, and costs no request."""
    bench.put(a=plane(0, dtype=dtype), b=plane(1, dtype=dtype))
    image = bench.open(fill_value=given)
    filled = image.isel(r=1).values
    assert filled.dtype == image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(filled, np.full((2, 3), expected, dtype))
    assert bench.read == []


@pytest.mark.parametrize("given", [np.nan, -1, 65536, 10**30, 0.5, 1j, "a", [1, 2]], ids=repr)
def test_fill_value_of_another_dtype(bench, given):
    """A fill_value that the dtype cannot hold is refused when opening."""
    with pytest.raises(ValueError, match=r"^fill_value=.* is not a value of uint16; pass one that is, or none$"):
        bench.open(fill_value=given)


def test_fill_value_beyond_the_floats(bench):
    """A number that is too large for the floats of the array is refused."""
    bench.put(a=plane(0, dtype="float16"))
    with pytest.raises(
        ValueError, match=r"^fill_value=1000000\.0 is not a value of float16; pass one that is, or none$"
    ):
        bench.open(fill_value=1e6)


# absent files


def test_absent_file(bench):
    """A listed file that is absent is an error that names it, and FileNotFoundError."""
    del bench.fs.files["b/b.npy"]
    image = bench.open()
    with pytest.raises(MissingTileError, match=r"^recording://b/b\.npy: there is no such file") as caught:
        image.load()
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.url == "recording://b/b.npy"
    np.testing.assert_array_equal(image.isel(r=0).values, plane(0))


def test_absent_files_as_fill(bench):
    """With on_missing="fill" absent files are fill_value, and one warning names them."""
    bench.put_set([tile(f"{r}.npy", r=r) for r in range(8)], {"r": 8})
    for r in range(1, 6):
        del bench.fs.files[f"b/{r}.npy"]
    image = bench.open(on_missing="fill", fill_value=9)
    with pytest.warns(MissingTileWarning) as caught:
        values = image.values
    expected = np.stack([plane(r) if r in (0, 6, 7) else plane(0) * 0 + 9 for r in range(8)])
    np.testing.assert_array_equal(values, expected)
    (warning,) = caught
    head, names = str(warning.message).split(": ", 1)
    assert head == "5 absent file(s) read as fill_value"
    assert names.endswith(", …")
    assert set(names.removesuffix(", …").split(", ")) < {f"recording://b/{r}.npy" for r in range(1, 6)}


def test_first_file_absent(bench):
    """The header of another tile will do where the first one is absent; where all are, opening fails."""
    bench.put_set([tile(f"{r}.npy", r=r) for r in range(4)], {"r": 4})
    del bench.fs.files["b/0.npy"]
    assert bench.open(on_missing="fill").dtype == np.dtype("uint16")
    bench.fs.files.pop("b/1.npy"), bench.fs.files.pop("b/2.npy"), bench.fs.files.pop("b/3.npy")
    with pytest.raises(MissingTileError, match=r"^recording://b/0\.npy: there is no such file"):
        bench.open(on_missing="fill")


# dtypes and shapes


@pytest.mark.parametrize("dtype", ["uint8", "bool", ">u2"])
def test_safe_casts(bench, dtype):
    """A tile of a dtype that fits into the first one's is cast."""
    bench.put(b=plane(1, dtype=dtype))
    values = bench.open().isel(r=2).values
    assert values.dtype == np.dtype("uint16")
    np.testing.assert_array_equal(values, plane(1, dtype=dtype).astype("uint16"))


@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32"])
def test_unsafe_casts(bench, dtype):
    """A tile of any other dtype is an error that names both."""
    bench.put(b=plane(1, dtype=dtype))
    message = rf"^recording://b/b\.npy: has dtype {dtype}, which does not fit into the uint16 of the other tiles"
    with pytest.raises(CodecError, match=message):
        bench.open().isel(r=2).load()


def test_byte_order(bench):
    """Big-endian tiles give an array of native dtype with the same values."""
    bench.put(a=plane(0, dtype=">i4"), b=plane(1, dtype="<i4"))
    image = bench.open()
    assert image.dtype == np.dtype("int32")
    assert image.dtype.isnative
    np.testing.assert_array_equal(image.values, np.stack([plane(0), plane(0) * 0, plane(1)]))


@pytest.mark.parametrize(
    ("shape", "stated", "message"),
    [
        (
            (3, 2),
            None,
            r"has shape \(3, 2\) \(y, x\), but the first tile has \(2, 3\), and the document states none\. State",
        ),
        (
            (3, 2),
            {"y": 2, "x": 3},
            r"has shape \(3, 2\) \(y, x\), but the document states \(2, 3\); it looks transposed\.",
        ),
        ((2, 4), {"y": 2, "x": 3}, r"has shape \(2, 4\) \(y, x\), but the document states \(2, 3\)\. Fix tile_shape"),
        ((2, 2, 3), {"y": 2, "x": 3}, r"has shape \(2, 2, 3\) \(z, y, x\), but the document states \(2, 3\)"),
    ],
)
def test_wrong_shape(bench, shape, stated, message):
    """A tile of another shape than stated, or than the first one has, is an error that names both."""
    bench.put(set=tile_set([tile("a.npy", r=0), tile("b.npy", r=1)], {"r": 2}, default_tile_shape=stated))
    bench.put(b=plane(1, shape))
    with pytest.raises(CodecError, match=rf"^recording://b/b\.npy: {message}"):
        bench.open().load()


def test_wrong_shape_of_the_first_tile(bench):
    """The first tile is compared with what the document states when opening."""
    bench.put(set=tile_set([tile("a.npy", r=0)], {"r": 1}, default_tile_shape=[3, 2]))
    with pytest.raises(
        CodecError, match=r"^recording://b/a\.npy: has shape \(2, 3\).* states \(3, 2\); it looks transposed"
    ):
        bench.open()


def test_colour(bench):
    """Samples per pixel are the last dim, s."""
    colours = np.arange(2 * 3 * 3, dtype="uint8").reshape(2, 3, 3)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG")
    bench.fs.files["b/a.png"] = buffer.getvalue()
    bench.put_set([tile("a.png", {"x": [0, 3]}, r=0)], {"r": 1})
    image = bench.open()
    assert (image.dims, image.s.values.tolist()) == (("r", "y", "x", "s"), [0, 1, 2])
    np.testing.assert_array_equal(image.isel(r=0, s=1).values, colours[..., 1])


def test_a_page_instead_of_pixels(bench):
    """What a server says in place of an image is an error of that tile, not of the array."""
    bench.fs.files["b/b.npy"] = b"<html><body>Not here</body></html>"
    image = bench.open()
    with pytest.raises(
        CodecError, match=r"^recording://b/b\.npy: the server returned a document, not an image: b'<html>"
    ):
        image.load()
    np.testing.assert_array_equal(image.isel(r=0).values, plane(0))


def test_unknown_format(bench):
    """A tile of a format that nobody knows fails when it is read, not when the set is opened."""
    bench.put_set([tile("a.npy", r=0), {**tile("b.npy", r=1), "tile_format": "WHATEVER"}], {"r": 2})
    image = bench.open()
    np.testing.assert_array_equal(image.isel(r=0).values, plane(0))
    with pytest.raises(CodecError, match=r"^recording://b/b\.npy: .*WHATEVER"):
        image.isel(r=1).load()


# checksums


@pytest.fixture
def signed(bench):
    """Let the tiles state their sha256, one in capitals."""
    digests = [hashlib.sha256(npy(plane(number))).hexdigest() for number in (0, 1)]
    entries = [{**tile("a.npy", r=0), "sha256": digests[0]}, {**tile("b.npy", r=2), "sha256": digests[1].upper()}]
    bench.put_set(entries, {"r": 3})
    return bench


def test_right_checksum(signed):
    """Digests are compared whatever their case; one request a tile."""
    np.testing.assert_array_equal(signed.open().isel(r=[0, 2]).values, np.stack([plane(0), plane(1)]))
    assert sorted(signed.read) == ["a.npy", "b.npy"]


def test_wrong_checksum(signed):
    """Wrong bytes are fetched a second time, and are then an error that tells both digests."""
    image = signed.open()
    signed.put(b=plane(7))
    found, stated = (hashlib.sha256(npy(plane(number))).hexdigest() for number in (7, 1))
    message = (
        rf"^recording://b/b\.npy: has sha256 {found} \(140 bytes\), but the document states {stated}; read twice\. "
        r'Repair the file, or pass verify="never" to read it as it is\.$'
    )
    with pytest.raises(ChecksumError, match=message):
        image.load()
    assert sorted(signed.read) == ["a.npy", "b.npy", "b.npy"]


def test_bytes_damaged_on_the_way(signed):
    """Bytes that are right the second time are the result."""
    image = signed.open()

    class Once(dict):
        """The damaged file for one read, the good one after it."""

        def __getitem__(self, path):
            content = super().__getitem__(path)
            if path == "b/b.npy":
                self[path] = npy(plane(1))
            return content

    world = signed.fs._world
    world.files = Once(world.files)
    world.files["b/b.npy"] = npy(plane(7))
    np.testing.assert_array_equal(image.isel(r=2).values, plane(1))
    assert signed.read == ["b.npy", "b.npy"]


def test_unverified(signed):
    """verify="never" reads what is there, once."""
    image = signed.open(verify="never")
    signed.put(b=plane(7))
    np.testing.assert_array_equal(image.isel(r=2).values, plane(7))
    assert signed.read == ["b.npy"]


# limits


def test_max_bytes(bench):
    """A result larger than max_bytes is refused before any request; smaller selections are read."""
    image = bench.open(max_bytes=35)
    message = (
        r"^recording://b/set\.json: the selection has 36 bytes .*, but max_bytes allows 35 .*\. Select less with \.isel"
    )
    with pytest.raises(MemoryError, match=message):
        image.load()
    assert bench.read == []
    np.testing.assert_array_equal(image.isel(r=[0, 2]).values, np.stack([plane(0), plane(1)]))


def test_more_than_there_is_memory(bench):
    """A result larger than the memory that is free is refused before any request."""
    ranges = {"x": [1000_000, 1000_003], "y": [1000_000, 1000_002], "z": [2, 4]}
    bench.put(a=plane(0, (2, 2, 3)), b=plane(1, (2, 2, 3)))
    bench.put_set([tile("a.npy", {"x": [0, 3], "y": [0, 2], "z": [0, 2]}), tile("b.npy", ranges)], {})
    image = bench.open()
    assert image.sizes == {"z": 4, "y": 1000_002, "x": 1000_003}
    with pytest.raises(MemoryError, match=r"the selection has 8000040000048 bytes .*are free\. Select less with"):
        image.load()
    assert bench.read == []
    np.testing.assert_array_equal(image.isel(z=-1, y=slice(-2, None), x=slice(-3, None)).values, plane(1, (2, 2, 3))[1])


def test_max_tile_bytes(bench):
    """A tile that declares more than max_tile_bytes is refused."""
    image = bench.open(max_tile_bytes=12)
    bench.put(b=plane(1, (2, 4)))
    with pytest.raises(
        CodecError, match=r"^recording://b/b\.npy: declares 16 bytes of pixels.* but a tile may have 12"
    ):
        image.isel(r=2).load()


# options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bogus": 1}, TypeError, r"^slicedfs has no option 'bogus'; it has storage_options, filesystems, "),
        ({"level": 1}, ValueError, r"^recording://b/set\.json has no zoom levels, so level must be 0, got 1$"),
        ({"pixel_coords": "middle"}, ValueError, r"^pixel_coords must be one of 'edges', 'centers', got 'middle'$"),
        ({"on_missing": "skip"}, ValueError, r"^on_missing must be one of 'raise', 'fill', got 'skip'$"),
        ({"verify": True}, ValueError, r"^verify must be one of 'auto', 'always', 'never', got True$"),
        ({"max_bytes": 0}, ValueError, r"^max_bytes must be a positive number of bytes, got 0$"),
        ({"max_tile_bytes": 1.5}, ValueError, r"^max_tile_bytes must be a positive number of bytes, got 1\.5$"),
        ({"concurrency": 0}, ValueError, r"^concurrency must be an integer >= 1, got 0\.$"),
        (
            {"group": "x"},
            KeyError,
            r"recording://b/set\.json is a tile set, it has no member 'x'; open it without group=",
        ),
    ],
)
def test_wrong_options(bench, options, error, message):
    """An option that does not exist, or a value that it cannot have, is refused before a tile is read."""
    with pytest.raises(error, match=message):
        open_dataarray(bench.url(), storage_options=bench.options, **options)
    assert "a.npy" not in bench.read


@pytest.mark.parametrize("target", [5, b"set.json", None, {"version": "0.1.0"}])
def test_what_cannot_be_opened(target):
    """What is neither path nor URL nor node is refused."""
    with pytest.raises(
        TypeError, match=rf"^slicedfs opens paths, URLs and its own nodes, not {type(target).__name__}$"
    ):
        open_dataarray(target)


def test_no_document(bench):
    """A document that is absent is FileNotFoundError, one that is none is ManifestError."""
    with pytest.raises(FileNotFoundError, match=r"^recording://b/other\.json: there is no such file"):
        bench.open("other.json")
    with pytest.raises(ManifestError, match=r"^recording://b/a\.npy is a NumPy array, not a JSON document"):
        bench.open("a.npy")


def test_local_files(tmp_path):
    """Paths, relative ones too, and file URLs open the same files."""
    (tmp_path / "set.json").write_text(json.dumps(tile_set([tile("a.npy")], {})))
    (tmp_path / "a.npy").write_bytes(npy(plane(0)))
    for url in (tmp_path / "set.json", str(tmp_path / "set.json"), (tmp_path / "set.json").as_uri()):
        np.testing.assert_array_equal(open_dataarray(url).values, plane(0))


# a document that changes


def test_changed_document(bench, monkeypatch):
    """An array that was read before its document changed goes on; a pickle refuses in a process that reads it anew."""
    import pickle
    from weakref import WeakValueDictionary

    from slicedfs import source
    from slicedfs.store import Memo

    image = bench.open()
    stored = pickle.dumps(image)
    bench.put(set=tile_set([tile("b.npy", r=0), tile("a.npy", r=2)], {"r": 3}))
    monkeypatch.setattr(source, "_OPENED", Memo())  # as in another process
    monkeypatch.setattr(source, "_ALIVE", WeakValueDictionary())
    with pytest.raises(
        StoreError, match=r"^recording://b/set\.json has changed since it was opened\. Open it again\.$"
    ):
        pickle.loads(stored).load()
    np.testing.assert_array_equal(image.isel(r=0).values, plane(0))


def test_explain_of_absent_files(bench):
    """What is listed is planned, whether it is there or not."""
    del bench.fs.files["b/b.npy"]
    assert explain(bench.open()).tiles == 2


def test_header_that_points_past_the_end(bench):
    """A TIFF whose directory lies past its end is a damaged image, not a failed request."""
    bench.fs.files["b/a.tif"] = b"II*\x00\xff\xff\xff\x00" + bytes(100)
    bench.put_set([tile("a.tif", {"x": [0, 3], "y": [0, 2]})], {})
    with pytest.raises(CodecError, match=r"^recording://b/a\.tif: "):
        bench.open()


def test_copies_share_what_the_original_opened(bench):
    """A copy of an array that is alive opens nothing again, however many other sets were opened in between."""
    import copy

    bench.put_set([tile("t0.npy", r=0)], {"r": 1})
    image = bench.open()
    for number in range(70):
        bench.put(**{f"other{number}": tile_set([tile("t0.npy", r=0)], {"r": 1}, extras={"number": number})})
        bench.open(f"other{number}.json")
    bench.fs.clear()
    np.testing.assert_array_equal(copy.deepcopy(image).values, plane(0)[None])
    assert bench.fs.paths == ["b/t0.npy"]


def test_token_survives_pickling(bench):
    """What identifies an array is the same before and after pickling, and differs for other options."""
    import pickle

    from slicedfs.lazy import unwrap

    def token(array):
        return unwrap(array.variable._data).token

    url = "".join(["recording://b/", "set.json"])  # equal strings that are different objects, as after unpickling
    options = {"storage_options": {"name": bench.fs.name, "other": "".join(["n", "ame"])}, "max_bytes": 10**9}
    bench.fs.__class__(name=bench.fs.name, other="name")
    image = open_dataarray(url, **options)
    assert token(pickle.loads(pickle.dumps(image))) == token(image) == token(open_dataarray(url, **options))
    assert token(open_dataarray(url, **{**options, "max_bytes": 10**8})) != token(image)
    assert token(image.isel(r=[0])) != token(image)
