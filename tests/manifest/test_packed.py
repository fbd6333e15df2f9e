"""The packed index: it says what its document says, and a damaged one is refused."""

import hashlib
import json
import pickle
import re
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from manifest.documents import read_quietly, said, tile, tile_set

from slicedfs.errors import ManifestError
from slicedfs.manifest import Made, is_packed, pack, parse, unpack

URL = "s3://bucket/sets/fov.json.slicedfs-index"
MADE = Made("./fov.json", hashlib.sha256(b"the document").hexdigest(), 1234, "etag-1")
NAMES = st.sampled_from(["r", "c", "z", "höhe", "t 1"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
RANGES = st.sampled_from([[0.0, 0.1], [-0.0, 5.5], [3.0, 1.0]]) | st.lists(
    st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2
)


@st.composite
def documents(draw):
    """Draw tile sets in which tiles state what they like."""
    dims = draw(st.lists(NAMES, unique=True, max_size=3))
    labels = st.sampled_from([st.integers(0, 3), st.integers(0, 300), st.integers(0, 2**17), st.integers(0, 2**63 - 1)])
    of_dim = {dim: draw(labels) for dim in dims}
    tiles = [
        tile(
            file=draw(st.text(min_size=1, max_size=8)),
            indices={dim: draw(labels) for dim, labels in of_dim.items()},
            coordinates=draw(st.dictionaries(st.sampled_from(["xc", "yc", "zc"]), RANGES)),
            sha256=draw(st.sampled_from([..., "ab" * 32, hashlib.sha256(b"1").hexdigest()])),
            tile_shape=draw(st.sampled_from([..., {"y": 4, "x": 5}, [2, 3], {"z": 2, "y": 1, "x": 1}])),
            tile_format=draw(st.sampled_from([..., "TIFF", "npy"])),
            extras=draw(JSON),
            more=draw(JSON),
        )
        for _ in range(draw(st.integers(1, 6)))
    ]
    head = {"extras": draw(JSON), "zoom": draw(JSON), "default_tile_format": draw(st.sampled_from([..., "PNG"]))}
    return tile_set(
        *tiles, shape=dict.fromkeys(dims, 3), default_tile_shape=draw(st.sampled_from([..., [7, 8]])), **head
    )


def packed(document):
    """Give the index of a document that is given as a value."""
    return b"".join(pack(read_quietly(document), MADE))


def rewritten(data, change):
    """Give an index whose header `change` has changed, with checksums and lengths that are right."""
    (length,) = struct.unpack_from("<I", data, 12)
    body = data[-(-(16 + length) // 64) * 64 :]
    header = json.loads(data[16 : 16 + length])
    change(header)
    raw = json.dumps(header).encode()
    return data[:12] + struct.pack("<I", len(raw)) + raw + bytes(-(16 + len(raw)) % 64) + body


@given(documents())
@example(tile_set(*[tile(indices={"r": i, "c": 0}, file=f"t{i}") for i in range(300)]))
def test_round_trip(document):
    """An index gives what its document says: every column, extras, unknown keys, and all of its head."""
    original = read_quietly(document)
    again = unpack(b"".join(pack(original, MADE)), URL).document
    ours, theirs = said(again.tiles), said(original.tiles)
    np.testing.assert_equal(ours.pop("coordinates"), theirs.pop("coordinates"))  # NaN, and the sign of zero
    assert ours == theirs
    for name in ("version", "dimensions", "shape", "default_tile_shape", "default_tile_format", "extras", "unknown"):
        assert getattr(again, name) == getattr(original, name), name
    assert (again.tiles.shapes, again.tiles.formats) == (original.tiles.shapes, original.tiles.formats)
    assert [again.tiles.where(i) for i in range(len(again.tiles))] == [
        original.tiles.where(i) for i in range(len(original.tiles))
    ]


def test_what_it_is_made_from():
    """An index stands for its document, beside which it lies, and says which one that was."""
    found = unpack(packed(tile_set()), URL)
    assert found.document.url == "s3://bucket/sets/fov.json"
    assert found.made == MADE
    assert is_packed(packed(tile_set()))
    assert not is_packed(json.dumps(tile_set()).encode())


def test_parse_reads_it():
    """An index can be given wherever a document can."""
    assert said(parse(packed(tile_set()), URL).tiles) == said(read_quietly(tile_set()).tiles)


def test_same_bytes():
    """The index of a document is the same in every run, and any other document has another digest."""
    assert packed(tile_set()) == packed(tile_set())
    digests = {unpack(packed(tile_set(tile(file=name))), URL).digest for name in ("a", "b", "c")}
    assert len(digests) == 3


def test_few_bytes_a_tile():
    """Labels and coordinates that repeat take a few bytes a tile, and what all tiles share takes none."""
    tiles = [
        tile(file=f"t{i:04}", indices={"r": i // 40, "c": i % 40}, coordinates={"xc": [i % 5, i % 5 + 1]}, extras={})
        for i in range(4000)
    ]
    own = 5 + 8 + 32 + 1 + 1 + 1  # name, its end, digest, r, c, which of five ranges
    assert len(packed(tile_set(*tiles))) <= 4000 * own + 4096


def test_columns_are_made_when_asked_for():
    """Labels and coordinates are made at their first use, and once."""
    tiles = unpack(packed(tile_set(tile(), tile(indices={"r": 0, "c": 1}))), URL).document.tiles
    assert list(tiles.indices) == ["r", "c"]
    assert len(tiles.coordinates) == 3
    assert "xc" in tiles.coordinates
    assert "r" not in tiles.coordinates
    assert tiles.indices["r"] is tiles.indices["r"]
    assert tiles.indices["r"].tolist() == [1, 0]
    with pytest.raises(KeyError, match="nope"):
        tiles.indices["nope"]


def test_pickles():
    """What an index gave pickles without the bytes that it lies in."""
    document = unpack(memoryview(packed(tile_set(tile(unknown=1), tile(indices={"r": 0, "c": 1})))), URL).document
    assert said(pickle.loads(pickle.dumps(document)).tiles) == said(document.tiles)


@pytest.mark.parametrize("length", [8, 15, 16, 40, 1000, -64, -1])
def test_cut_off(length):
    """An index that is cut off is refused, wherever that is."""
    with pytest.raises(ManifestError, match=r"is a damaged index: .* Write it again with `slicedfs index`\."):
        unpack(packed(tile_set())[:length], URL)


def test_other_version():
    """An index of a later version is refused by that name."""
    data = bytearray(packed(tile_set()))
    data[8] = 2
    with pytest.raises(ManifestError, match=r"is an index of version 2, and 1 can be read\. Write it again"):
        unpack(bytes(data), URL)


def test_flipped_bit():
    """A bit that flipped anywhere in the body is found, unless nobody asks."""
    data = bytearray(packed(tile_set()))
    data[-100] ^= 1
    with pytest.raises(ManifestError, match="its sha256 is not the one that its header states"):
        unpack(bytes(data), URL)
    assert len(unpack(bytes(data), URL, verify=False).document.tiles) == 1


@given(st.data())
def test_mutated(data):
    """Whatever happens to an index, it reads as a document or is refused by a ManifestError."""
    whole = packed(tile_set(tile(unknown=[1]), tile(indices={"r": 0, "c": 300}, sha256=..., tile_format="npy")))
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(8, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        document = unpack(bytes(changed), URL, verify=False).document
        said(document.tiles)
    except ManifestError:
        return
    assert len(document.tiles) == 2


HOSTILE = {
    "dtype": (lambda h: h["files"]["ends"].update(dtype="|O"), "a section has dtype '|O', and may have <i8"),
    "shape": (lambda h: h["files"]["ends"].update(shape=[3]), r"a section has shape \(3,\), and should have \(2,\)"),
    "many": (lambda h: h.update(tiles=2**62), rf"a section has shape \(2, 32\), and should have \({2**62}, 32\)"),
    "past the end": (lambda h: h["digests"].update(at=2**40), f"lies at byte {2**40} of the body"),
    "crooked": (lambda h: h["digests"].update(at=h["digests"]["at"] + 1), "lies at byte"),
    "negative": (lambda h: h["digests"].update(at=-64), "its header cannot be read"),
    "no form": (lambda h: h["indices"]["r"].clear(), "the column 'r' has no form, or several"),
    "two forms": (lambda h: h["indices"]["r"].update(value=1), "the column 'r' has no form, or several"),
    "unknown": (lambda h: h.update(secret=1), "its header cannot be read .*secret"),
    "body": (lambda h: h.update(body=1), r"its body has \d+ bytes instead of 1"),
    "codes": (lambda h: h["format_codes"].update(value=2), "a column of integers has values outside 0 to 1"),
    "version": (lambda h: h["document"].update(version="9.0.0"), "version of this tile set cannot be read"),
    "counts": (lambda h: h["document"].update(shape={"r": -1}), "shape.r must be an integer >= 0, got -1"),
    "tile shape": (lambda h: h["shapes"].append({"y": 0, "x": 1}), r"shapes\[1\].y must be a number of pixels"),
    "values": (lambda h: h["extras"].update(tiles=h["files"]["ends"]), "values belong to tiles that are not there"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_header(name):
    """A header that leads out of the body, or says what cannot be, is refused before anything is read."""
    change, match = HOSTILE[name]
    data = packed(tile_set(tile(), tile(indices={"r": 0, "c": 1}, file="another.tiff")))
    with pytest.raises(ManifestError, match=match):
        unpack(rewritten(data, change), URL)


def test_hostile_columns():
    """Values that cannot be are refused when the column is asked for, which is before they are used."""
    tiles = [tile(indices={"r": i, "c": 2**40 + i}, coordinates={"xc": [i, i + 1.0]}) for i in range(3)]
    data = packed(tile_set(*tiles))
    bad = data.replace(struct.pack("<q", 2**40 + 1), struct.pack("<q", -5))
    bad = bad.replace(struct.pack("<2d", 2, 3), struct.pack("<2d", 2, np.inf))
    found = unpack(bad, URL, verify=False).document.tiles
    assert found.indices["r"].tolist() == [0, 1, 2]
    with pytest.raises(ManifestError, match="a column of integers has values outside 0 to"):
        found.indices["c"]
    with pytest.raises(ManifestError, match="a coordinate is infinite, or has one end"):
        found.coordinates["xc"]


def test_hostile_texts():
    """Texts that are no UTF-8, and values that are no JSON, are refused when they are asked for."""
    data = packed(tile_set(tile(file="abc.tiff", extras={"key": "value"})))
    bad = data.replace(b"abc.tiff", b"\xff\xfebc.tif").replace(b'{"key":"value"}', b'{"key":"value"]')
    tiles = unpack(bad, URL, verify=False).document.tiles
    with pytest.raises(ManifestError, match="An index holds a text that is not UTF-8: number 0"):
        tiles.files[0]
    with pytest.raises(ManifestError, match=re.escape("An index holds a value of tiles[0] that is not JSON")):
        tiles.extras[0]
    with pytest.raises(KeyError, match="1"):
        tiles.extras[1]
