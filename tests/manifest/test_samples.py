"""Documents that other software wrote, against slicedimage 4.1.1 where it can read them."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from manifest.documents import expected_tiles, said

from slicedfs.errors import ManifestError, ManifestWarning
from slicedfs.manifest import dump, parse

DATA = Path(__file__).parent.parent / "data" / "manifests"
TILE_SETS = {
    "slicedimage-4.1.1-tests/v0_0_0/tileset.json": 16,
    "slicedimage-4.1.1-tests/v0_1_0/tileset.json": 16,
    "starfish-examples/field_of_view/dartfish_field_of_view.json": 18,
    "starfish-written/test_tiles_in_dirs0/primary-fov_000.json": 27,
    "third-party/spacetx-writer-2019-04-24/primary_image-fov_000.json": 12,
}
READABLE_BY_SLICEDIMAGE = [
    "slicedimage-4.1.1-tests/v0_0_0/tileset.json",
    "slicedimage-4.1.1-tests/v0_1_0/tileset.json",
    "starfish-written/test_tiles_in_dirs0/primary-fov_000.json",
]


def read(name):
    return parse((DATA / name).read_bytes(), f"file:///{name}")


def slicedimage_reads(path):
    """Return what slicedimage 4.1.1 makes of a document; no tile is opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import slicedimage

        return slicedimage.Reader.parse_doc(path.name, path.parent.as_uri())


def assert_same_as_slicedimage(document, oracle):
    """Fail unless slicedimage sees the same tiles in the same order."""
    theirs = oracle.tiles()
    assert len(document.tiles) == len(theirs)
    assert set(document.dimensions) == {str(getattr(dim, "value", dim)) for dim in oracle.dimensions}
    assert document.shape == dict(oracle.shape)
    assert (document.default_tile_format or "TIFF") == (
        oracle.default_tile_format.name if oracle.default_tile_format else "TIFF"
    )
    for i, tile in enumerate(theirs):
        assert {dim: int(column[i]) for dim, column in document.tiles.indices.items()} == dict(tile.indices)
        ranges = {str(getattr(name, "value", name)): pair for name, pair in tile.coordinates.items()}
        assert {name: tuple(column[i]) for name, column in document.tiles.coordinates.items()} == ranges
        digest = document.tiles.digest(i)
        assert (None if digest is None else digest.hex()) == tile.sha256
        own = (
            None if tile._tile_shape is None else {str(getattr(a, "value", a)): n for a, n in tile._tile_shape.items()}
        )
        assert document.tiles.shape(i) == own
        assert document.tiles.extras.get(i, {}) == tile.extras


@pytest.mark.parametrize("name", TILE_SETS)
def test_tile_sets_read_as_they_are_written(name):
    """All tiles are there, and every column says what the document says."""
    document = read(name)
    assert len(document.tiles) == TILE_SETS[name]
    assert said(document.tiles) == expected_tiles(json.loads((DATA / name).read_text()))


@pytest.mark.parametrize("name", READABLE_BY_SLICEDIMAGE)
def test_tile_sets_read_as_slicedimage_reads_them(name):
    """Labels, ranges, shapes and digests are those of slicedimage 4.1.1."""
    assert_same_as_slicedimage(read(name), slicedimage_reads(DATA / name))


@pytest.mark.parametrize("version", ["0.0.0", "0.1.0"])
@pytest.mark.parametrize("pretty", [True, False])
@pytest.mark.parametrize("name", TILE_SETS)
def test_slicedimage_reads_what_is_dumped(name, version, pretty, tmp_path):
    """Also those that it could not read before (version 1.0.0)."""
    document = read(name)
    (tmp_path / "set.json").write_bytes(dump(document, version=version, pretty=pretty))
    assert_same_as_slicedimage(document, slicedimage_reads(tmp_path / "set.json"))


def test_slicedimages_own_tile_set():
    """16 tiles, 4 x 4, the default shape read as y, x."""
    for version in ("v0_0_0", "v0_1_0"):
        document = read(f"slicedimage-4.1.1-tests/{version}/tileset.json")
        assert document.shape == {"hyb": 4, "ch": 4}
        assert document.default_tile_shape == {"y": 1044, "x": 1390}
        assert document.default_tile_format == "TIFF"
        assert document.tiles.indices["hyb"].tolist() == np.repeat(range(4), 4).tolist()
        assert document.tiles.files[1] == "1_1st_Cy3.TIF"


def test_labels_need_not_start_at_zero():
    """Starfish's builder writes rounds 1, 2, 4 where `shape` counts 3."""
    document = read("starfish-written/test_tiles_in_dirs0/primary-fov_000.json")
    assert document.shape == {"c": 3, "r": 3, "z": 3}
    assert np.unique(document.tiles.indices["r"]).tolist() == [1, 2, 4]
    assert np.unique(document.tiles.indices["c"]).tolist() == [2, 3, 4]
    assert document.tiles.shapes == ({"x": 60, "y": 100},)


def test_dartfish_of_version_1_is_read():
    """18 tiles of 988 x 988; slicedimage 4.1.1 cannot."""
    document = read("starfish-examples/field_of_view/dartfish_field_of_view.json")
    assert document.version == "1.0.0"
    assert document.shape == {"c": 3, "r": 6, "z": 1}
    assert document.default_tile_shape == {"y": 988, "x": 988}
    assert document.default_tile_format is None


def test_extras_that_are_text_a_scalar_coordinate_and_a_bad_digest():
    """Starfish's example tile set has all three."""
    with pytest.warns(ManifestWarning, match=r"tiles\[1\]\.sha256 is not 64 hex digits; treated as absent\.$"):
        document = read("starfish-examples/field_of_view/field_of_view.json")
    assert document.extras == "nothing to see here"
    assert document.tiles.coordinates["zc"].tolist()[0] == [0.0, 0.0]
    assert document.tiles.has_sha256.tolist() == [True, False]
    assert document.tiles.extras[0] == {"are_we_missing_something": "probably"}


def test_a_coordinate_of_length_one_is_refused():
    """Starfish's too_large.json has a zc of one number in a list."""
    with pytest.raises(
        ManifestError, match=r"tiles\[0\]\.coordinates\.zc must be a number or a pair of numbers, not a list of 1"
    ):
        read("starfish-examples/field_of_view/too_large.json")


@pytest.mark.parametrize(
    ("name", "contents", "kind"),
    [
        ("slicedimage-4.1.1-tests/v0_0_0/collection_l1.json", {"fov_001": "tileset.json"}, "collection"),
        ("slicedimage-4.1.1-tests/v0_1_0/collection_l2.json", {"collection_001": "collection_l1.json"}, "collection"),
        (
            "starfish-examples/experiment/experiment.json",
            {"primary": "primary_images.json", "nuclei": "nuclei.json"},
            "experiment",
        ),
        (
            "starfish-examples/experiment/dartfish_experiment.json",
            {"primary": "dartfish_field_of_view.json", "nuclei": "dartfish_nuclei.json"},
            "experiment",
        ),
        (
            "starfish-examples/experiment/no_fov_manifest.json",
            {"primary": "../field_of_view/field_of_view.json"},
            "experiment",
        ),
        ("third-party/spacetx-writer-2019-04-24/experiment.json", {"primary": "primary_image-fov.json"}, "experiment"),
        (
            "third-party/spacetx-writer-2019-04-24/primary_image-fov.json",
            {"fov_000": "primary_image-fov_000.json"},
            "collection",
        ),
    ],
)
def test_collections_and_experiments(name, contents, kind):
    """Names and references are those in the file."""
    document = read(name)
    assert document.contents == contents
    assert document.kind == kind


def test_null_extras_of_a_collection_are_none():
    """Starfish writes `extras: null`."""
    document = read("starfish-examples/fov_manifest/fov_manifest.json")
    assert document.extras is None
    assert list(document.contents) == ["fov_000", "fov_001", "fov_00N"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("codebook/codebook", "is a codebook, not images"),
        ("field_of_view/coordinates_bad_z_single", "holds the coordinates of one tile"),
    ],
)
def test_files_beside_the_documents_are_told_what_they_are(name, what):
    """A codebook or a fragment is not taken for a document."""
    with pytest.raises(ManifestError, match=what):
        read(f"starfish-examples/{name}.json")
