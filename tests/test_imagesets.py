"""The image sets of imagesets.py hold what they say; other tests rest on that."""

import json
from itertools import product
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import imagesets
import numpy as np
import pytest
from imagesets import EXPERIMENT, SAMPLES, Layout, encode, expected


def test_pixels_encode_their_position() -> None:
    """The pixel at (y, x) of plane (r, c, z) is 1 + 1009 * (64 r + 8 c + z) + y * width + x."""
    plane = encode((2, 1, 3), (24, 40))
    assert (plane.shape, plane.dtype.name) == ((24, 40), "uint32")
    assert plane[0, 0] == 1 + 1009 * (128 + 8 + 3)
    assert plane[5, 7] - plane[0, 0] == 5 * 40 + 7


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_no_two_planes_are_equal(dtype: str) -> None:
    """Planes of different labels differ in every dtype, so that a tile in the wrong place shows."""
    planes = {encode(labels, (4, 4), dtype).tobytes() for labels in product(range(4), range(8), range(8))}
    assert len(planes) == 4 * 8 * 8


@pytest.mark.parametrize("version", ["0.0.0", "0.1.0"])
@pytest.mark.parametrize(
    ("tile_format", "dtype"), [("TIFF", "uint32"), ("NUMPY", "float32"), ("PNG", "uint16"), ("PNG", "uint8")]
)
def test_slicedimage_reads_what_was_asked_for(tmp_path: Path, version: str, tile_format: str, dtype: str) -> None:
    """The oracle's array is the expected one, in both versions and all formats, with a tile missing."""
    layout = Layout(labels={"r": (1, 4), "c": (0, 2), "z": (0,)}, dtype=dtype, missing=frozenset({(4, 0, 0)}))
    document = imagesets.write_tile_set(
        tmp_path, layout, version=version, tile_format=tile_format, tile_directory="tiles é 1"
    )
    assert len(list((tmp_path / "tiles é 1").iterdir())) == 3
    assert json.loads(document.read_text())["version"] == version
    array = imagesets.oracle_array(document)
    assert array.dtype == dtype
    assert not array[1, 0].any()
    np.testing.assert_array_equal(array, expected(layout))


def test_the_tiles_of_a_mosaic_are_all_kept(tmp_path: Path) -> None:
    """Tiles at one position have files of their own; placed by their coordinates they make the whole plane."""
    layout = Layout(labels={"r": (0,), "c": (1,)}, grid=(2, 3))
    tiles = imagesets.oracle_tiles(imagesets.write_tile_set(tmp_path, layout))
    whole = np.zeros((48, 120), "uint32")
    for tile in tiles:
        y, x = (round(tile.coordinates[name][0] / 0.5) for name in ("yc", "xc"))
        whole[y : y + 24, x : x + 40] = tile.pixels
    np.testing.assert_array_equal(whole, encode((0, 1), (48, 120)))
    with pytest.raises(ValueError, match=r"6 tiles have 1 positions"):
        imagesets.oracle(tmp_path / "tileset.json")


@pytest.mark.parametrize("version", ["4.0.0", "5.0.0"])
def test_the_oracle_follows_experiments(tmp_path: Path, version: str) -> None:
    """Every field of view of an experiment is found under image/field, also under an awkward name."""
    images = {"primary": {"fov 000 é": Layout(labels={"r": (1, 2), "c": (0,), "z": (3,)})}, "nuclei": {"b": Layout()}}
    document = imagesets.write_experiment(tmp_path, images, version=version)
    for image, fields in images.items():
        for name, layout in fields.items():
            np.testing.assert_array_equal(imagesets.oracle_array(document, f"{image}/{name}"), expected(layout))


@pytest.mark.parametrize("version", ["0.0.0", "0.1.0"])
def test_the_oracle_follows_nested_collections(tmp_path: Path, version: str) -> None:
    """A tile set two collections down is found under its path."""
    document = imagesets.write_collection(tmp_path, {"a": {"b": {"c": Layout()}}, "d": Layout()}, version=version)
    np.testing.assert_array_equal(imagesets.oracle_array(document, "a/b/c"), expected(Layout()))


def test_tiles_can_lie_on_another_filesystem(tmp_path: Path, serve_http: Any) -> None:
    """After split_tiles the document stays, its tiles are read over http, and each once."""
    layout = Layout(labels={"r": (0, 1), "c": (0, 1)})
    document = imagesets.write_tile_set(tmp_path / "here", layout, name="my set", tile_directory="t 1")
    server = serve_http(tmp_path / "there")
    imagesets.split_tiles(document, tmp_path / "there", server.url)
    assert [path.name for path in (tmp_path / "here").rglob("*.*")] == ["my set.json"]
    references = [tile["file"] for tile in json.loads(document.read_text())["tiles"]]
    assert references[1] == f"{server.url}/t%201/my%20set-c1-r0.tiff"
    with urlopen(references[1]) as reply:
        assert reply.read(4) == b"II*\0"
    server.clear()
    np.testing.assert_array_equal(imagesets.oracle_array(document, dims=("r", "c")), expected(layout))
    assert sorted(f"{server.url}{request.path}" for request in server.requests) == sorted(references)


def test_references_can_be_made_absolute(tmp_path: Path) -> None:
    """absolute_references rewrites tiles and contents to percent-encoded URLs below the base."""
    document = imagesets.write_collection(tmp_path, {"a b": Layout()})
    imagesets.absolute_references(document, "https://example.org/x/")
    contents = json.loads(document.read_text())["contents"]
    assert contents == {"a b": "https://example.org/x/collection-a%20b.json"}


@pytest.mark.parametrize(
    ("document", "shape", "lit"),
    [
        ("starfish-written/test_tiles_in_dirs0/experiment.json", (3, 3, 3, 100, 60), True),
        ("starfish-written/example_plot_format_structured_data/primary/experiment.json", (2, 1, 3, 10, 10), False),
    ],
)
def test_the_oracle_reads_samples_of_the_real_world(document: str, shape: tuple[int, ...], lit: bool) -> None:
    """Starfish's samples come with float32 pixels; those of its documentation's example are all 0."""
    array = imagesets.oracle_array(SAMPLES / document, "primary/fov_000")
    assert (array.shape, array.dtype.name, bool(array.any())) == (shape, "float32", lit)


def test_the_fixture_experiment_holds_its_layouts(experiment: Path) -> None:
    """The session's experiment is what EXPERIMENT says, its fields of view side by side."""
    for image, fields in EXPERIMENT.items():
        for name, layout in fields.items():
            array = imagesets.oracle_array(experiment, f"{image}/{name}", dims=tuple(layout.labels))
            np.testing.assert_array_equal(array, expected(layout))
    edges = [imagesets.oracle_tiles(experiment, f"primary/fov_00{i}")[0].coordinates["xc"] for i in range(2)]
    assert edges == [(0.0, 20.0), (20.0, 40.0)]
