"""Kinds and versions of documents."""

import pytest
from manifest.documents import collection, read, tile, tile_set

from slicedfs.errors import ManifestError

NONE_OF_THEM = r"`contents` \(a collection\), `tiles` \(a tile set\), `images`, `primary_images` and"


@pytest.mark.parametrize("make", [collection, tile_set])
@pytest.mark.parametrize(
    "version",
    [
        "0.0.0",
        "0.0.9",
        "0.1.0",
        "0.1",
        "0",
        "0.1.99",
        "1.0.0",
        "1",
        "0.1.0-dev",
        "0.0.0rc1",
        "0.2.0-dev",
        "0.1.0+x",
        "v0.1.0",
    ],
)
def test_versions_of_collections_and_tile_sets_that_can_be_read(make, version):
    """0.0.x, 0.1.x and 1.0.0, their pre-releases, and what slicedimage takes for older than 0.2.0."""
    assert read(make(version=version)).version == version


@pytest.mark.parametrize("make", [collection, tile_set])
@pytest.mark.parametrize(
    "version", ["0.2.0", "0.10.0", "1.0.1", "1.1.0", "2.0.0", "4.0.0", "5.0.0", "9.0.0", "0.3-dev"]
)
def test_other_versions_are_refused_with_those_that_can_be_read(make, version):
    """The error names the version, and the versions that can be read."""
    with pytest.raises(
        ManifestError,
        match=rf"version of this (collection|tile set) cannot be read; 0\.0\.x, .* 1\.0\.0 can, got \"{version}\"\.$",
    ) as error:
        read(make(version=version))
    assert error.value.pointer == "version"
    assert error.value.value == version


@pytest.mark.parametrize("version", ["0.0.0", "1.0.0", "4.0.0", "4.1.7", "5.0.0", "5.3"])
def test_versions_of_experiments_that_can_be_read(version):
    """0.0.0, 1.0.0, 4.x and 5.x."""
    assert read({"version": version, "images": {}}).version == version


@pytest.mark.parametrize("version", ["0.0.1", "0.1.0", "2.0.0", "3.9.9", "6.0.0"])
def test_other_versions_of_experiments_are_refused(version):
    """An experiment has versions of its own."""
    with pytest.raises(
        ManifestError, match=r"of this experiment cannot be read; 0\.0\.0, 1\.0\.0, 4\.x and 5\.x can, got"
    ):
        read({"version": version, "images": {}})


@pytest.mark.parametrize("make", [collection, tile_set])
def test_a_missing_version_is_named(make):
    """The error says that `version` is missing, and which could be read."""
    with pytest.raises(
        ManifestError, match=r"^s3://bucket/fov\.json: version is missing: .* 0\.0\.x, 0\.1\.x and 1\.0\.0"
    ):
        read(make(version=...))


@pytest.mark.parametrize(
    "version", ["", "abc", "1..0", "0.1.0 beta 2 of 3", "9" * 5000, "0.1.0-dévelop", "\u0660.\u0661.\u0660"]
)
def test_a_version_that_is_none_is_refused(version):
    """A text that is not a version is not read as one."""
    with pytest.raises(ManifestError, match=r"version is not a version; 0\.0\.x"):
        read(collection(version=version))


@pytest.mark.parametrize("version", [None, 0.1, 1, ["0.1.0"], True])
def test_a_version_that_is_no_string_is_refused(version):
    """A number is not a version: 0.10 would be 0.1."""
    with pytest.raises(ManifestError, match=r'version must be a string such as "0\.1\.0", got'):
        read(collection(version=version))


@pytest.mark.parametrize("document", [{}, {"version": "0.1.0"}, {"version": "0.1.0", "extras": {}, "content": {}}])
def test_a_document_of_no_kind_is_told_what_it_lacks(document):
    """The error names all the keys that make a document."""
    with pytest.raises(ManifestError, match=rf"fov\.json has none of {NONE_OF_THEM} `hybridization_images`"):
        read(document)


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (
            [{"codeword": [{"r": 0, "c": 0, "v": 1}], "target": "A"}],
            r"is a codebook, not images\. Open the experiment\.json",
        ),
        ({"version": "0.0.0", "mappings": []}, r"is a codebook, not images\. Open the experiment\.json"),
        ({"codewords": []}, "is a codebook, not images"),
        ({"version": "0.0.0", "tocs": ["a.json"]}, r"is a document of early 2018 with `tocs`.*Rename"),
        ({"version": "4.0.0", "auxiliary_images": {}}, "is a SpaceTx experiment without images"),
        (tile(), "is one tile, not a tile set"),
        ({"xc": [0.0, 1.0], "yc": [0, 1], "zc": 0.5}, "holds the coordinates of one tile, not a document"),
        ({"multiscales": [{}]}, r"is metadata of OME-Zarr or Zarr; .*xarray\.open_zarr"),
        ({"zarr_format": 3, "node_type": "group", "attributes": {"ome": {}}}, "is metadata of OME-Zarr or Zarr"),
        ({"type": "image", "scales": [], "data_type": "uint8"}, "is the `info` file of a neuroglancer volume"),
        ({"@type": "neuroglancer_multiscale_volume"}, "is the `info` file of a neuroglancer volume"),
        ({"version": 1, "refs": {"x": ["a", 0, 1]}}, r"is a kerchunk reference file; .*engine=\"kerchunk\""),
        ({"0": {"Resolution": [1, 1, 1], "TileSize": [64, 64, 1]}}, r"is a tile specification of DVID.*build_zoom"),
        ([tile_set(), tile_set()], "is a list of documents; each must lie in a file of its own"),
    ],
)
def test_a_wrong_document_is_told_what_it_is(document, what):
    """The error says what was passed, and what to open instead."""
    with pytest.raises(ManifestError, match=what):
        read(document)


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ([], "list"),
        ([{"a": 1}], "list"),
        ([1, {"codeword": 1}], "list"),
        ("text", "string"),
        (1, "number"),
        (1.5, "number"),
        (True, "boolean"),
        (None, "null"),
    ],
)
def test_json_that_is_no_object_is_told_what_it_is(document, name):
    """A document is a JSON object."""
    with pytest.raises(ManifestError, match=rf"must be a JSON object \(a collection, .*, not a {name}\.$"):
        read(document)
