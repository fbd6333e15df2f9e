"""Equal pixels with slicedimage 4.1.1, on everything that it reads and writes."""

from pathlib import Path
from typing import Any

import imagesets
import numpy as np
import pytest
import xarray as xr
from imagesets import SAMPLES, Layout

import slicedfs

WITH_PIXELS = [
    ("starfish-written/test_tiles_in_dirs0/experiment.json", "primary/fov_000"),
    ("starfish-written/test_tiles_in_dirs0/primary.json", "fov_000"),
    ("starfish-written/test_tiles_in_dirs0/primary-fov_000.json", ""),
    ("starfish-written/example_plot_format_structured_data/primary/experiment.json", "primary/fov_000"),
    ("starfish-written/example_plot_format_structured_data/primary/experiment.json", "nuclei/fov_001"),
    ("starfish-written/example_plot_format_structured_data/nuclei/experiment.json", "nuclei/fov_000"),
]
LAYOUTS = {
    "plain": Layout(dtype="uint16"),
    "labels": Layout(labels={"r": (1, 2, 4), "c": (7, 3), "z": (0,)}, dtype="uint16"),
    "missing": Layout(missing=frozenset({(0, 1, 1), (1, 2, 0)}), dtype="uint16"),
    "geometric": Layout(labels={"hyb": (0, 1), "ch": (0, 1)}, names=("z", "y", "x"), dtype="uint8"),
}


@pytest.mark.filterwarnings("ignore::slicedfs.ManifestWarning")  # labels of starfish's own tests exceed range(count)
@pytest.mark.parametrize(("document", "path"), WITH_PIXELS)
def test_samples(document: str, path: str) -> None:
    """Manifests that starfish wrote give slicedimage's pixels, tile by tile and labelled alike."""
    array = slicedfs.open_dataarray(SAMPLES / document, group=path or None).load()
    tiles = imagesets.oracle_tiles(SAMPLES / document, path)
    assert tiles
    for tile in tiles:
        np.testing.assert_array_equal(array.sel(tile.labels).values, tile.pixels)
        assert array.dtype == tile.pixels.dtype


def test_version_1_0_0() -> None:
    """spacetx-writer's version 1.0.0, which slicedimage refuses, reads as the file of each tile says."""
    import tifffile

    folder = SAMPLES / "third-party" / "spacetx-writer-2019-04-24"
    array = slicedfs.open_dataarray(folder / "experiment.json", group="primary/fov_000").load()
    assert dict(array.sizes) == {"r": 2, "c": 2, "z": 3, "y": 24, "x": 32}
    for r, c, z in np.ndindex(2, 2, 3):
        pixels = tifffile.imread(folder / f"primary_image-fov_000_Z{z}_T{r}_C{c}.ome.tiff", _multifile=False)
        np.testing.assert_array_equal(array.sel(r=r, c=c, z=z).values, pixels)


@pytest.mark.parametrize("version", ["0.0.0", "0.1.0"])
@pytest.mark.parametrize("tile_format", ["TIFF", "NUMPY", "PNG"])
@pytest.mark.parametrize("kind", list(LAYOUTS))
def test_written_by_slicedimage(tmp_path: Path, version: str, tile_format: str, kind: str) -> None:
    """What slicedimage writes, in both versions and three formats, reads as slicedimage reads it."""
    layout = LAYOUTS[kind]
    document = imagesets.write_tile_set(tmp_path, layout, version=version, tile_format=tile_format)
    array = slicedfs.open_dataarray(document)
    dims = tuple(layout.labels)
    expected = imagesets.oracle_array(document, dims=dims)
    z = [dim for dim in ("z",) if dim in array.dims and dim not in dims]  # z as a coordinate only: an axis of one
    np.testing.assert_array_equal(array.squeeze(z).transpose(*dims, "y", "x").values, expected)
    for dim in dims:
        assert array[dim].values.tolist() == sorted(layout.labels[dim])
    assert ("has_tile" in array.coords) == bool(layout.missing)


@pytest.mark.parametrize("version", ["0.0.0", "0.1.0"])
def test_nested_collections(tmp_path: Path, version: str) -> None:
    """Nested collections open as a tree, whose leaves are found by path and by name."""
    contents: dict[str, Any] = {"outer": {"inner": {"fov_001": LAYOUTS["plain"]}, "fov 2 é": LAYOUTS["labels"]}}
    document = imagesets.write_collection(tmp_path, contents, version=version, tile_format="NUMPY")
    tree = xr.open_datatree(document, engine="slicedfs")
    assert set(tree.groups) == {"/", "/outer", "/outer/inner", "/outer/inner/fov_001", "/outer/fov 2 é"}
    node = slicedfs.open(document)
    for path in ("outer/inner/fov_001", "outer/fov 2 é"):
        expected = imagesets.oracle_array(document, path)
        for array in (tree[path]["image"], node[path].to_dataarray(), node[path.split("/")[-1]].to_dataarray()):
            np.testing.assert_array_equal(array.values, expected)


def test_experiment_versions(tmp_path: Path) -> None:
    """Experiments 4.x (primary_images, auxiliary_images) and 5.x (images) give the same names."""
    images = {"primary": {"fov_000": LAYOUTS["plain"]}, "nuclei": {"fov_000": LAYOUTS["labels"]}}
    for version in ("4.0.0", "5.0.0"):
        (tmp_path / version).mkdir()
        document = imagesets.write_experiment(tmp_path / version, images, version=version)
        node = slicedfs.open(document)
        assert (list(node), node.kind, node.codebook) == (["primary", "nuclei"], "experiment", "codebook.json")
        for path in ("primary/fov_000", "nuclei/fov_000"):
            np.testing.assert_array_equal(node[path].to_dataarray().values, imagesets.oracle_array(document, path))
