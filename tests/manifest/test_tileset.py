"""A tile set's own fields."""

import pytest
from manifest.documents import URL, read, tile, tile_set

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.model import TileSetDocument


def test_a_tile_set_keeps_what_is_written():
    """Every field is where the model says, as written."""
    document = read(
        tile_set(
            default_tile_shape={"x": 60, "y": 100},
            default_tile_format="tiff",
            extras="nothing to see here",
            zoom={"levels": []},
        )
    )
    assert isinstance(document, TileSetDocument)
    assert (document.url, document.version) == (URL, "0.1.0")
    assert document.dimensions == ("c", "xc", "x", "r", "y", "zc", "yc")
    assert list(document.shape.items()) == [("r", 2), ("c", 3)]
    assert document.default_tile_shape == {"x": 60, "y": 100}
    assert document.default_tile_format == "tiff"
    assert document.extras == "nothing to see here"
    assert document.unknown == {"zoom": {"levels": []}}
    assert len(document.tiles) == 1


def test_what_is_not_stated_is_none():
    """Nothing is made up for what a document leaves out."""
    document = read(tile_set())
    assert (document.default_tile_shape, document.default_tile_format, document.extras) == (None, None, None)
    assert document.unknown == {}


@pytest.mark.parametrize("version", ["0.0.0", "0.1.0", "1.0.0"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ([1044, 1390], {"y": 1044, "x": 1390}),
        ([3, 4, 5], {"z": 3, "y": 4, "x": 5}),
        ({"x": 5, "y": 4}, {"y": 4, "x": 5}),
        ({"x": 5, "y": 4, "z": 3}, {"z": 3, "y": 4, "x": 5}),
        (None, None),
    ],
)
def test_shapes_are_read_by_type_not_by_version(version, written, meant):
    """A list is (y, x) or (z, y, x), an object is by name, in every version."""
    document = read(tile_set(tile(tile_shape=written), version=version, default_tile_shape=written))
    assert document.default_tile_shape == meant
    assert document.tiles.shape(0) == meant


@pytest.mark.parametrize(
    ("written", "place", "wrong"),
    [
        ([], "", r"must be \[y, x\], \[z, y, x\] or an object, got \[\]"),
        ([5], "", r"must be \[y, x\], \[z, y, x\] or an object, got \[5\]"),
        ([1, 2, 3, 4], "", r"must be \[y, x\], \[z, y, x\] or an object, got a list of 4"),
        ("4x5", "", r'must be \[y, x\], \[z, y, x\] or an object, got "4x5"'),
        (5, "", r"must be \[y, x\], \[z, y, x\] or an object, got 5"),
        ([4, 0], r"\[1\]", "must be a number of pixels, an integer >= 1, got 0"),
        ([4.0, 5], r"\[0\]", r"must be a number of pixels, an integer >= 1, got 4\.0"),
        ([True, 5], r"\[0\]", "must be a number of pixels, an integer >= 1, got true"),
        ({"x": 5, "y": -4}, r"\.y", "must be a number of pixels, an integer >= 1, got -4"),
        ({"x": 5, "y": 2**63}, r"\.y", "must be a number of pixels, an integer >= 1, got 9223372036854775808"),
        ({"x": "5", "y": 4}, r"\.x", 'must be a number of pixels, an integer >= 1, got "5"'),
        ({"x": 5}, r"\.y", "is missing: a tile has the axes x and y"),
        ({"Y": 4, "X": 5}, r"\.x", "is missing: a tile has the axes x and y"),
        ({"x": 5, "y": 4, "c": 3}, r"\.c", "is not an axis of a tile: those are x, y and z"),
        ({}, r"\.x", "is missing: a tile has the axes x and y"),
    ],
)
def test_other_shapes_are_refused(written, place, wrong):
    """The error names the place and the value, for the default and for a tile alike."""
    with pytest.raises(ManifestError, match=rf"^s3://bucket/fov\.json: default_tile_shape{place} {wrong}"):
        read(tile_set(default_tile_shape=written))
    with pytest.raises(ManifestError, match=rf"^s3://bucket/fov\.json: tiles\[1\]\.tile_shape{place} {wrong}"):
        read(tile_set(tile(), tile(tile_shape=written)))


@pytest.mark.parametrize("key", ["shape", "indices"])
@pytest.mark.parametrize("value", [0, -7, "left", None])
@pytest.mark.parametrize("axes", [("x",), ("y",), ("x", "y")])
def test_x_and_y_among_the_counts_or_indices_are_ignored_with_a_warning(key, axes, value):
    """They lie inside the tiles, whatever they say."""
    odd = dict.fromkeys(axes, value)
    if key == "shape":
        document = tile_set(shape={"r": 2, "c": 3} | odd)
    else:
        document = tile_set(*(tile(indices={"r": 1, "c": 2} | odd) for _ in range(3)))
    with pytest.warns(ManifestWarning, match=rf"fov\.json: x and y in `{key}` are ignored") as caught:
        read_document = read(document)
    assert len(caught) == 1
    assert list(read_document.shape) == ["r", "c"]
    assert list(read_document.tiles.indices) == ["r", "c"]


def test_x_and_y_are_warned_about_once_in_a_document():
    """One warning, however many tiles have them, and `shape` too."""
    odd = tile_set(*(tile(indices={"r": 1, "c": 2, "x": 0, "y": 0}) for _ in range(3)), shape={"x": 5, "r": 2, "c": 3})
    with pytest.warns(ManifestWarning, match="x and y in `shape` are ignored") as caught:
        read(odd)
    assert len(caught) == 1


def test_missing_dimensions_are_taken_from_the_shape():
    """Nothing depends on `dimensions`, so their absence is a warning."""
    with pytest.warns(ManifestWarning, match="`dimensions` is missing; they are taken from `shape`") as caught:
        document = read(tile_set(dimensions=...))
    assert len(caught) == 1
    assert document.dimensions == ("r", "c", "y", "x")


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ("rcyx", r'dimensions must be a list of strings, got "rcyx"\.$'),
        (None, r"dimensions must be a list of strings, got null\.$"),
        ({"r": 1}, r"dimensions must be a list of strings, got an object with 1 keys\.$"),
        (["r", 1], r"dimensions\[1\] must be a string, got 1\.$"),
    ],
)
def test_dimensions_of_another_form_are_refused(dimensions, message):
    """Dimensions are a list of strings."""
    with pytest.raises(ManifestError, match=message):
        read(tile_set(dimensions=dimensions))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (..., r"fov\.json: shape is missing: it must be an object such as"),
        (None, r"shape must be an object such as .*, got null\.$"),
        ([2, 3], r"shape must be an object such as .*, got \[2, 3\]\.$"),
        ({"r": -1}, r"shape\.r must be an integer >= 0, got -1\.$"),
        ({"r": 1.0}, r"shape\.r must be an integer >= 0, got 1\.0\.$"),
        ({"r": True}, r"shape\.r must be an integer >= 0, got true\.$"),
        ({"r": "2"}, r'shape\.r must be an integer >= 0, got "2"\.$'),
        ({"time point": None}, r'shape\["time point"\] must be an integer >= 0, got null\.$'),
        ({"r": 2**63}, r"shape\.r must be at most 9223372036854775807, got 9223372036854775808\.$"),
    ],
)
def test_shapes_that_do_not_count_are_refused(shape, message):
    """Shape is needed, and counts."""
    with pytest.raises(ManifestError, match=message):
        read(tile_set(shape=shape))


def test_a_count_of_zero_is_accepted():
    """A lab's script writes counts of 0 beside labels; the labels win later."""
    document = read(tile_set(shape={"r": 0, "c": 0}))
    assert document.shape == {"r": 0, "c": 0}
    assert document.tiles.indices["r"].tolist() == [1]


@pytest.mark.parametrize("value", [1, ["TIFF"], True, {}])
def test_formats_that_are_no_text_are_refused(value):
    """A format is a name; which ones there are is another room's business."""
    with pytest.raises(ManifestError, match=r"default_tile_format must be a string, got"):
        read(tile_set(default_tile_format=value))
    with pytest.raises(ManifestError, match=r"tiles\[0\]\.tile_format must be a string, got"):
        read(tile_set(tile(tile_format=value)))


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_format_is_not_stated(value):
    """As slicedimage reads it."""
    document = read(tile_set(tile(tile_format=value), default_tile_format=value))
    assert document.default_tile_format is None
    assert document.tiles.format(0) is None
    assert document.tiles.format_codes is None


def test_any_format_name_is_kept_as_written():
    """An unknown format fails when a tile of it is read, not here."""
    document = read(tile_set(tile(tile_format="Zeiss"), tile(tile_format="tif"), tile(tile_format="Zeiss")))
    assert document.tiles.formats == ("Zeiss", "tif")
    assert [document.tiles.format(i) for i in range(3)] == ["Zeiss", "tif", "Zeiss"]


@pytest.mark.parametrize("tiles", [None, {}, "tiles", 3, {"0": {}}])
def test_tiles_that_are_no_list_are_refused(tiles):
    """Tiles are a list."""
    with pytest.raises(ManifestError, match=r"fov\.json: tiles must be a list of tiles, got"):
        read(tile_set(tiles=tiles))


def test_a_tile_set_may_have_no_tiles():
    """Its index dims are there, with nothing along them."""
    document = read(tile_set(tiles=[]))
    assert len(document.tiles) == 0
    assert {dim: column.shape for dim, column in document.tiles.indices.items()} == {"r": (0,), "c": (0,)}
    assert document.tiles.coordinates == {}
    assert document.tiles.sha256 is None
