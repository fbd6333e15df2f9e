"""Model -> JSON."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manifest.documents import URL, assert_equal, collection, read, read_quietly, said, tile, tile_set

from slicedfs.errors import ManifestError
from slicedfs.manifest import dump, parse
from slicedfs.model import CollectionDocument, Strings, Tiles, TileSetDocument

SMALL = TileSetDocument(
    url=URL,
    version="0.1.0",
    dimensions=("yc", "x", "t", "c", "z", "xc", "y", "r"),
    shape={"z": 1, "t": 1, "c": 1, "r": 2},
    tiles=Tiles(
        files=Strings.pack(["a.npy", "é\ud800.npy"]),
        indices={dim: np.array(v) for dim, v in {"z": [0, 0], "t": [0, 0], "c": [0, 0], "r": [3, 1]}.items()},
        coordinates={"xc": np.array([[0, 0.1], [np.nan, np.nan]]), "yc": np.array([[1.5, 1.5], [2, 1e-7]])},
        shapes=({"y": 4, "x": 5}, {"z": 3, "y": 4, "x": 5}),
        shape_codes=np.array([1, -1], np.int32),
        formats=("NUMPY",),
        format_codes=np.array([-1, 0], np.int32),
        sha256=np.array([[0] * 32, [255] * 32], np.uint8),
        has_sha256=np.array([False, True]),
        extras={1: {"a": [1]}},
        unknown={0: {"fov": 7}},
    ),
    default_tile_shape={"y": 4, "x": 5},
    default_tile_format="TIFF",
    extras={"slicedfs": {"dtype": "<u2"}},
    unknown={"zoom": {"levels": []}},
)


def test_a_tile_set_as_version_0_1_0():
    """Every key is where slicedimage looks for it; shapes are by name; nothing is written for what is absent."""
    assert json.loads(dump(SMALL)) == {
        "version": "0.1.0",
        "dimensions": ["r", "c", "t", "z", "y", "x", "xc", "yc"],
        "shape": {"z": 1, "t": 1, "c": 1, "r": 2},
        "default_tile_shape": {"y": 4, "x": 5},
        "default_tile_format": "TIFF",
        "extras": {"slicedfs": {"dtype": "<u2"}},
        "zoom": {"levels": []},
        "tiles": [
            {
                "coordinates": {"xc": [0, 0.1], "yc": [1.5, 1.5]},
                "indices": {"z": 0, "t": 0, "c": 0, "r": 3},
                "file": "a.npy",
                "tile_shape": {"z": 3, "y": 4, "x": 5},
                "fov": 7,
            },
            {
                "coordinates": {"yc": [2, 1e-7]},
                "indices": {"z": 0, "t": 0, "c": 0, "r": 1},
                "file": "é\ud800.npy",
                "sha256": "ff" * 32,
                "tile_format": "NUMPY",
                "extras": {"a": [1]},
            },
        ],
    }


def test_a_tile_set_as_version_0_0_0():
    """Shapes are lists, (y, x) or (z, y, x)."""
    written = json.loads(dump(SMALL, version="0.0.0"))
    assert written["version"] == "0.0.0"
    assert written["default_tile_shape"] == [4, 5]
    assert written["tiles"][0]["tile_shape"] == [3, 4, 5]


def test_the_bytes_of_a_small_tile_set():
    """The form is fixed: no white space, this order of keys, UTF-8."""
    small = read(tile_set(tile(extras=..., sha256=..., file="é.tif"), dimensions=["x", "y", "c", "r"]))
    assert dump(small).decode() == (
        '{"version":"0.1.0","dimensions":["r","c","y","x"],"shape":{"r":2,"c":3},"extras":null,"tiles":['
        '{"coordinates":{"xc":[0.0,0.1],"yc":[0.1,0.2],"zc":[0.25,0.25]},"indices":{"r":1,"c":2},"file":"é.tif",'
        '"tile_shape":{"y":100,"x":60},"tile_format":"TIFF"}]}'
    )


def test_pretty_bytes_are_what_the_standard_library_indents():
    """Two spaces a level, and a line break at the end."""
    for document in (SMALL, read(collection()), read(tile_set(tile(), tile(file="a\nb")))):
        value = json.loads(dump(document))
        expected = json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        assert dump(document, pretty=True) == expected


def test_a_tile_set_without_tiles_can_be_written():
    """Its list of tiles is empty, pretty or not."""
    empty = read(tile_set(tiles=[]))
    for pretty in (True, False):
        assert json.loads(dump(empty, pretty=pretty))["tiles"] == []


def test_many_tiles_come_in_order():
    """Several batches make one list."""
    document = tile_set(*(tile(indices={"r": 1, "c": i}, file=f"{i}.tif") for i in range(9000)))
    for pretty in (True, False):
        written = json.loads(dump(read(document), pretty=pretty))
        assert [t["file"] for t in written["tiles"]] == [f"{i}.tif" for i in range(9000)]
        assert [t["indices"]["c"] for t in written["tiles"]] == list(range(9000))


def test_a_collection():
    """Names stay in order; version 0.0.0 is kept, others become 0.1.0."""
    document = CollectionDocument(URL, "1.0.0", {"b": "b.json", "a": "c/a.json"}, extras={}, unknown={"note": 1})
    assert dump(document) == b'{"version":"0.1.0","contents":{"b":"b.json","a":"c/a.json"},"extras":{},"note":1}'
    assert json.loads(dump(dataclasses.replace(document, version="0.0.0")))["version"] == "0.0.0"
    assert json.loads(dump(document, version="0.0.0"))["version"] == "0.0.0"


def test_an_experiment():
    """Written as 5.0.0 with `images`, whatever it was read as."""
    old = {"version": "4.0.0", "primary_images": "p.json", "auxiliary_images": {"n": "n.json"}, "codebook": "c.json"}
    assert json.loads(dump(read(old))) == {
        "version": "5.0.0",
        "images": {"primary": "p.json", "n": "n.json"},
        "codebook": "c.json",
        "extras": None,
    }


DOCUMENTS = {
    "collection": collection(extras=[1], note={"a": None}),
    "empty collection": collection(contents={}),
    "experiment": {"version": "5.0.0", "images": {"primary": "p.json"}, "codebook": "c.json", "extras": {}},
    "experiment without codebook": {"version": "4.1.0", "primary_images": "p.json", "odd": 1},
    "tile set": tile_set(tile(), tile(fov=1, extras="x", tile_shape=..., sha256=None), tile(tile_format="PNG")),
    "tile set 1.0.0": tile_set(tile(tile_shape=[3, 4, 5]), version="1.0.0", default_tile_shape=[3, 4, 5], extras=""),
    "bare tile set": tile_set(
        tile(sha256=..., tile_shape=..., tile_format=..., extras=...), shape={"r": 1, "z": 4, "c": 3}
    ),
    "extra dim": tile_set(tile(indices={"t": 1, "r": 0, "c": 0}), tile(indices={"t": 0, "r": 0, "c": 0})),
}


@pytest.mark.parametrize("pretty", [True, False])
@pytest.mark.parametrize("version", ["0.0.0", "0.1.0", None])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_dumped_reads_as_it_was(name, version, pretty):
    """All fields are equal, but for the version and the order of `dimensions`, which carry no meaning."""
    document = read_quietly(DOCUMENTS[name])
    if getattr(document, "kind", None) == "experiment":
        version = None
    again = parse_quietly(dump(document, version=version, pretty=pretty))
    changes = {"version": again.version}
    if isinstance(document, TileSetDocument):
        assert sorted(again.dimensions) == sorted(document.dimensions)
        changes["dimensions"] = again.dimensions
    assert_equal(again, dataclasses.replace(document, **changes))


def parse_quietly(data):
    return read_quietly(json.loads(data))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=5),
            st.integers(0, 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_every_text_label_and_float_survives(rows):
    """References, labels up to 2**63 - 1 and all finite floats come back bit for bit."""
    document = tile_set(
        *(tile(file=file, indices={"r": r, "c": 0}, coordinates={"xc": [a, b]}) for file, r, a, b in rows)
    )
    written = dump(read(document))
    columns = said(parse(written, URL).tiles)
    assert columns["files"] == [row[0] for row in rows]
    assert columns["indices"]["r"] == [row[1] for row in rows]
    assert columns["coordinates"]["xc"] == [[row[2], row[3]] for row in rows]
    assert dump(parse(written, URL)) == written


@pytest.mark.parametrize(
    ("document", "version", "message"),
    [
        (
            SMALL,
            "1.0.0",
            r"fov\.json cannot be written as version '1\.0\.0'; 0\.1\.0 and 0\.0\.0 can\. Pass one of these",
        ),
        (SMALL, "5.0.0", r"cannot be written as version '5\.0\.0'; 0\.1\.0 and 0\.0\.0 can"),
        (CollectionDocument(URL, "5.0.0", {}, kind="experiment"), "0.1.0", r"as version '0\.1\.0'; 5\.0\.0 can"),
    ],
)
def test_other_versions_cannot_be_written(document, version, message):
    """The error names those that can."""
    with pytest.raises(ManifestError, match=message):
        dump(document, version=version)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"coordinates": {"xc": np.array([[0, 1], [0, np.inf]])}},
            r"tiles\[1\]\.coordinates\.xc must be a pair of finite numbers, or absent, got \[0\.0, Infinity\]\.$",
        ),
        (
            {"coordinates": {"xc": np.array([[np.nan, 1], [0, 1]])}},
            r"tiles\[0\]\.coordinates\.xc must be a pair of finite",
        ),
        ({"indices": {"r": np.array([0, -1])}}, r"tiles\[1\]\.indices\.r must be an integer >= 0, got -1\.$"),
        ({"extras": {0: {1, 2}}}, r"fov\.json holds extras or other values that are not JSON \(.*set"),
        ({"extras": {0: [float("nan")]}}, r"holds extras or other values that are not JSON"),
    ],
)
def test_columns_that_the_format_cannot_say_are_refused(changes, message):
    """Nothing is written that could not be read."""
    with pytest.raises(ManifestError, match=message):
        dump(dataclasses.replace(SMALL, tiles=dataclasses.replace(SMALL.tiles, **changes)))


def test_extras_that_are_not_json_are_refused():
    """The error of a document's own extras is the same."""
    with pytest.raises(ManifestError, match=r"fov\.json holds extras or other values that are not JSON"):
        dump(CollectionDocument(URL, "0.1.0", {}, extras=object()))
