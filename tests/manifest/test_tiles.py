"""Tiles: their values, and what is wrong with them."""

import numpy as np
import pytest
from manifest.documents import DIGEST, URL, encode, expected_tiles, read, read_quietly, said, tile, tile_set

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.manifest import parse

MIXED = tile_set(
    tile(),
    tile(indices={"c": 0, "r": 0}, file="sub/é b.tif", sha256=DIGEST.upper(), extras=None),
    tile(coordinates={"xc": 1, "yc": [5, 2.5]}, tile_shape=..., tile_format="NUMPY", extras={}, sha256=None),
    tile(tile_shape=[100, 60], tile_format=..., extras="text", fov=3, Sha256="x", sha256=...),
    tile(tile_shape={"x": 61, "y": 100, "z": 2}, extras=..., odd=None, indices={"r": 2**40, "c": 7}),
)


def test_every_column_says_what_the_tiles_say():
    """Tiles of all kinds side by side read as they are written."""
    assert said(read(MIXED).tiles) == {
        "files": ["fov-c2-r1.tiff", "sub/é b.tif", "fov-c2-r1.tiff", "fov-c2-r1.tiff", "fov-c2-r1.tiff"],
        "indices": {"r": [1, 0, 1, 1, 2**40], "c": [2, 0, 2, 2, 7]},
        "coordinates": {
            "xc": [[0.0, 0.1], [0.0, 0.1], [1.0, 1.0], [0.0, 0.1], [0.0, 0.1]],
            "yc": [[0.1, 0.2], [0.1, 0.2], [5.0, 2.5], [0.1, 0.2], [0.1, 0.2]],
            "zc": [
                [0.25, 0.25],
                [0.25, 0.25],
                pytest.approx([np.nan, np.nan], nan_ok=True),
                [0.25, 0.25],
                [0.25, 0.25],
            ],
        },
        "shapes": [{"y": 100, "x": 60}, {"y": 100, "x": 60}, None, {"y": 100, "x": 60}, {"x": 61, "y": 100, "z": 2}],
        "formats": ["TIFF", "TIFF", "NUMPY", None, "TIFF"],
        "digests": [bytes.fromhex(DIGEST), bytes.fromhex(DIGEST), None, None, bytes.fromhex(DIGEST)],
        "extras": {0: {"exposure_ms": 20}, 3: "text"},
        "unknown": {3: {"fov": 3, "Sha256": "x"}, 4: {"odd": None}},
    }


def test_equal_shapes_share_a_code():
    """A list and an object that mean the same are one shape, whatever the order of axes."""
    tiles = read(tile_set(tile(), tile(tile_shape=[100, 60]), tile(tile_shape={"x": 60, "y": 100}))).tiles
    assert tiles.shapes == ({"y": 100, "x": 60},)
    assert tiles.shape_codes.tolist() == [0, 0, 0]


def test_columns_that_no_tile_states_are_none():
    """Nothing is stored for what is not there."""
    tiles = read(tile_set(tile(tile_shape=..., tile_format=..., sha256=..., extras=...))).tiles
    assert (tiles.shapes, tiles.shape_codes, tiles.formats, tiles.format_codes) == ((), None, (), None)
    assert (tiles.sha256, tiles.has_sha256) == (None, None)
    assert (dict(tiles.extras), dict(tiles.unknown)) == ({}, {})


@pytest.mark.parametrize("extras", [[], "text", 0, False, 1.5, {"a": [{"b": None}, {"c": "}, {"}]}])
def test_extras_of_a_tile_are_any_json(extras):
    """Extras are kept, whatever their type."""
    kept = dict(read(tile_set(tile(), tile(extras=extras))).tiles.extras)
    assert kept == {0: {"exposure_ms": 20}, 1: extras}
    assert type(kept[1]) is type(extras)


def test_many_tiles_keep_their_order_and_their_numbers():
    """Documents of several batches read like small ones; extras and unknown keys keep the number of their tile."""
    document = tile_set(
        *(
            tile(
                indices={"r": i // 3, "c": i % 3},
                coordinates={"xc": [i, i + 0.5], "yc": [-i / 7, 1e-300 * i], "zc": i % 2},
                file=f"t{i}}}, {{é.tif" if i % 1000 == 7 else f"t{i}.tif",
                sha256=f"{i:064x}",
                extras={"list": [{"i": i}, {"i": -i}]} if i % 500 == 3 else {},
                tile_format=("TIFF", "PNG", "NPY")[i // 1000 % 3],
                **({"odd": i} if i in (0, 5999) else {}),
            )
            for i in range(6000)
        ),
        shape={"r": 2000, "c": 3},
    )
    tiles = read(document).tiles
    assert said(tiles) == expected_tiles(document)
    assert dict(tiles.unknown) == {0: {"odd": 0}, 5999: {"odd": 5999}}
    assert sorted(tiles.extras) == list(range(3, 6000, 500))
    assert tiles.files[5999] == "t5999.tif"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": ...}, r"\.file is missing: it must be a string"),
        ({"file": ""}, r'\.file must be a string that is not empty, got ""\.$'),
        ({"file": None}, r"\.file must be a string that is not empty, got null\.$"),
        ({"file": ["a.tif"]}, r"\.file must be a string that is not empty, got \[\"a\.tif\"\]\.$"),
        ({"indices": ...}, r"\.indices is missing: it must be an object"),
        ({"indices": None}, r"\.indices must be an object, got null\.$"),
        ({"indices": [1, 2]}, r"\.indices must be an object, got \[1, 2\]\.$"),
        ({"indices": {"r": -1, "c": 0}}, r"\.indices\.r must be an integer >= 0, got -1\.$"),
        ({"indices": {"r": 1.0, "c": 0}}, r"\.indices\.r must be an integer >= 0, got 1\.0\.$"),
        ({"indices": {"r": True, "c": 0}}, r"\.indices\.r must be an integer >= 0, got true\.$"),
        ({"indices": {"r": "1", "c": 0}}, r'\.indices\.r must be an integer >= 0, got "1"\.$'),
        ({"indices": {"r": None, "c": 0}}, r"\.indices\.r must be an integer >= 0, got null\.$"),
        ({"indices": {"r": [1], "c": 0}}, r"\.indices\.r must be an integer >= 0, got \[1\]\.$"),
        (
            {"indices": {"r": 2**63, "c": 0}},
            r"\.indices\.r must be at most 9223372036854775807, got 9223372036854775808\.$",
        ),
        ({"indices": {"r": 10**4000, "c": 0}}, r"\.indices\.r must be at most 9223372036854775807, got 10{59}…\.$"),
        ({"coordinates": ...}, r"\.coordinates is missing: it must be an object"),
        ({"coordinates": [0, 1]}, r"\.coordinates must be an object, got \[0, 1\]\.$"),
        (
            {"coordinates": {"xc": [0.0]}},
            r"\.coordinates\.xc must be a number or a pair of numbers, not a list of 1, got \[0\.0\]\.$",
        ),
        (
            {"coordinates": {"xc": []}},
            r"\.coordinates\.xc must be a number or a pair of numbers, not a list of 0, got \[\]\.$",
        ),
        (
            {"coordinates": {"xc": [0, 1, 2]}},
            r"\.coordinates\.xc must be a number or a pair of numbers, not a list of 3",
        ),
        ({"coordinates": {"xc": [0, "1"]}}, r'\.coordinates\.xc\[1\] must be a finite number, got "1"\.$'),
        ({"coordinates": {"xc": [None, 1]}}, r"\.coordinates\.xc\[0\] must be a finite number, got null\.$"),
        ({"coordinates": {"xc": [0, True]}}, r"\.coordinates\.xc\[1\] must be a finite number, got true\.$"),
        ({"coordinates": {"xc": [0, [1, 2]]}}, r"\.coordinates\.xc\[1\] must be a finite number, got \[1, 2\]\.$"),
        ({"coordinates": {"xc": "ab"}}, r'\.coordinates\.xc must be a finite number or a pair of them, got "ab"\.$'),
        (
            {"coordinates": {"x c": None}},
            r'\.coordinates\["x c"\] must be a finite number or a pair of them, got null\.$',
        ),
        ({"coordinates": {"xc": False}}, r"\.coordinates\.xc must be a finite number or a pair of them, got false\.$"),
        (
            {"coordinates": {"xc": {"min": 0, "max": 1}}},
            r"\.coordinates\.xc must be a finite .*, got an object with 2 keys\.$",
        ),
        ({"coordinates": {"xc": [0, 10**400]}}, r"\.coordinates\.xc\[1\] must be a finite number, got 10{59}…\.$"),
    ],
)
def test_values_that_break_a_rule_are_refused_with_their_place(changes, message):
    """The error names document, tile, key and value; the same for the first tile and for one after good tiles."""
    with pytest.raises(ManifestError, match=rf"^s3://bucket/fov\.json: tiles\[0\]{message}"):
        read(tile_set(tile(**changes)))
    with pytest.raises(ManifestError, match=rf"^s3://bucket/fov\.json: tiles\[3\]{message}") as error:
        read(tile_set(tile(), tile(), tile(), tile(**changes), tile()))
    assert str(error.value.pointer).startswith("tiles[3].")
    assert error.value.url == "s3://bucket/fov.json"


@pytest.mark.parametrize("value", [None, [], "tile.tif", 3, True])
def test_tiles_that_are_no_objects_are_refused(value):
    """The error names which of the tiles it is."""
    with pytest.raises(ManifestError, match=r"fov\.json: tiles\[1\] must be an object, got"):
        read(tile_set(tile(), value))
    with pytest.raises(ManifestError, match=r"fov\.json: tiles\[0\] must be an object, got"):
        read(tile_set(value, tile()))


@pytest.mark.parametrize("huge", ["1e999", "-1e999"])
@pytest.mark.parametrize("other", [0, 0.5])
@pytest.mark.parametrize("end", [0, 1])
def test_numbers_beyond_all_bounds_are_refused_where_they_are(huge, other, end):
    """1e999 is valid JSON, and infinite."""
    pair = [other, "huge"] if end else ["huge", other]
    text = encode(tile_set(tile(coordinates={"xc": pair}))).decode().replace('"huge"', huge)
    message = rf"tiles\[0\]\.coordinates\.xc\[{end}\] must be a finite number, got -?Infinity\.$"
    with pytest.raises(ManifestError, match=message):
        parse(text.encode(), URL)


def test_the_first_wrong_tile_is_named():
    """Of several errors, the one of the first tile is told."""
    with pytest.raises(ManifestError, match=r"tiles\[1\]\.coordinates\.xc"):
        read(tile_set(tile(), tile(coordinates={"xc": []}), tile(file="")))


def test_an_index_that_no_tile_states_is_zero():
    """A dim of `shape` that no tile has, whatever its count."""
    tiles = read(tile_set(tile(indices={"r": 1}), tile(indices={"r": 0}), shape={"c": 5, "r": 2})).tiles
    assert {dim: column.tolist() for dim, column in tiles.indices.items()} == {"c": [0, 0], "r": [1, 0]}
    assert list(tiles.indices) == ["c", "r"]


def test_a_missing_index_is_zero_where_the_count_is_one():
    """There is only one place it can be."""
    tiles = read(tile_set(tile(indices={"r": 1, "z": 0}), tile(indices={"r": 0}), shape={"r": 2, "z": 1})).tiles
    assert tiles.indices["z"].tolist() == [0, 0]


def test_a_missing_index_is_refused_where_it_could_be_several():
    """The error names the first tile that lacks it."""
    odd = tile_set(tile(), tile(), tile(indices={"r": 1}), tile(indices={"r": 1}))
    with pytest.raises(
        ManifestError,
        match=r"tiles\[2\]\.indices\.c is missing: other tiles have it, and `shape` counts 3\. Give every tile",
    ):
        read(odd)


def test_an_index_that_the_shape_does_not_count_is_kept_with_a_warning():
    """Its dim comes after those of `shape`."""
    odd = tile_set(*(tile(indices={"t": i, "r": 1, "c": 2}) for i in (5, 6)))
    with pytest.warns(
        ManifestWarning, match=r"fov\.json: tiles have the indices \['t'\], which `shape` does not count"
    ) as caught:
        tiles = read(odd).tiles
    assert len(caught) == 1
    assert list(tiles.indices) == ["r", "c", "t"]
    assert tiles.indices["t"].tolist() == [5, 6]


def test_an_index_that_the_shape_does_not_count_must_be_everywhere():
    """There is no count that would say where a tile without it is."""
    odd = tile_set(tile(indices={"t": 0, "r": 1, "c": 2}), tile())
    with pytest.raises(
        ManifestError, match=r"tiles\[1\]\.indices\.t is missing: other tiles have it, and `shape` does not"
    ):
        read_quietly(odd)


@pytest.mark.parametrize(
    "value", ["", "does-not-exist", DIGEST[:-1], DIGEST + "0", DIGEST[:-1] + "g", DIGEST[:-1] + " ", 5, ["a"]]
)
def test_a_malformed_sha256_is_absent_with_one_warning(value):
    """The warning tells the first, and how many there are."""
    odd = tile_set(tile(), tile(sha256=value), tile(sha256=None), tile(sha256=value), tile(sha256=value))
    with pytest.warns(
        ManifestWarning, match=r"fov\.json: tiles\[1\]\.sha256 \(and 2 more\) is not 64 hex digits; treated"
    ) as caught:
        tiles = read(odd).tiles
    assert len(caught) == 1
    assert [tiles.digest(i) for i in range(5)] == [bytes.fromhex(DIGEST), None, None, None, None]


def test_tiles_without_sha256_lie_between_tiles_with_one():
    """Each digest stays with its tile."""
    tiles = read(tile_set(tile(sha256=None), tile(), tile(sha256=...), tile(sha256="0" * 63 + "1"))).tiles
    assert tiles.has_sha256.tolist() == [False, True, False, True]
    assert [tiles.digest(i) for i in range(4)] == [None, bytes.fromhex(DIGEST), None, b"\0" * 31 + b"\1"]


def test_where_all_sha256_are_malformed_there_is_no_column():
    """As spacetx-writer --no-tiffs writes."""
    with pytest.warns(ManifestWarning, match=r"tiles\[0\]\.sha256 is not 64 hex digits"):
        tiles = read(tile_set(tile(sha256="does-not-exist"))).tiles
    assert tiles.sha256 is None
    assert tiles.has_sha256 is None


def test_digits_do_not_move_from_one_sha256_to_the_next():
    """62 and 66 digits are two malformed ones, not two good ones."""
    with pytest.warns(ManifestWarning, match=r"tiles\[0\]\.sha256 \(and 1 more\) is not"):
        tiles = read(tile_set(tile(sha256="0" * 62), tile(sha256="0" * 66))).tiles
    assert tiles.sha256 is None


def test_a_sha256_with_spaces_inside_is_malformed():
    """Spaces do not count as digits, even where the digits of several tiles add up."""
    spaced = " " + DIGEST[1:]
    with pytest.warns(ManifestWarning, match=r"tiles\[0\]\.sha256 is not"):
        tiles = read(tile_set(tile(sha256=spaced), tile())).tiles
    assert tiles.has_sha256.tolist() == [False, True]


def test_coordinates_are_kept_as_written():
    """A number is both ends; reversed pairs stay reversed; integers become floats exactly as Python rounds them."""
    values = {"a": [0.01, 0.005], "b": 7, "c": [2**53 + 1, -0.0], "d": [123456789012345678901234567890, 5e-324]}
    tiles = read(tile_set(tile(coordinates=values))).tiles
    assert {name: column.tolist() for name, column in tiles.coordinates.items()} == {
        "a": [[0.01, 0.005]],
        "b": [[7.0, 7.0]],
        "c": [[9007199254740992.0, 0.0]],
        "d": [[1.2345678901234568e29, 5e-324]],
    }


def test_tiles_may_have_no_indices_and_no_coordinates():
    """Empty objects are fine, as slicedimage writes for one tile alone."""
    tiles = read(tile_set(tile(indices={}, coordinates={}), shape={})).tiles
    assert len(tiles) == 1
    assert (dict(tiles.indices), dict(tiles.coordinates)) == ({}, {})
