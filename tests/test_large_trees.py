"""Experiments of thousands of fields of view: what is not asked for is not read, and what is, is read at once."""

import io
import json

import numpy as np
import pytest
import xarray as xr

import slicedfs
from slicedfs.testing import RecordingFileSystem

FIELDS = 5000
OPTIONS = {"name": "large"}
ROOT = "recording://large/experiment.json"


@pytest.fixture(scope="module")
def fs():
    """Give an experiment of 5,000 fields of view of one tile each."""
    fs = RecordingFileSystem(**OPTIONS)
    fs.reset()
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6, dtype=np.uint16).reshape(2, 3))
    names = [f"fov_{number:04}" for number in range(FIELDS)]
    experiment = {"version": "5.0.0", "images": {"primary": "primary.json"}, "codebook": "codebook.json", "extras": {}}
    fs.files["large/experiment.json"] = json.dumps(experiment).encode()
    contents = {name: f"{name}.json" for name in names}
    fs.files["large/primary.json"] = json.dumps({"version": "0.1.0", "contents": contents}).encode()
    for number, name in enumerate(names):
        ranges = {"xc": [number, number + 1.0], "yc": [0.0, 1.0]}
        tile = {"file": f"{name}.npy", "indices": {"r": 0}, "coordinates": ranges}
        document = {"version": "0.1.0", "dimensions": ["r", "y", "x"], "shape": {"r": 1}, "tiles": [tile]}
        fs.files[f"large/{name}.json"] = json.dumps(document).encode()
        fs.files[f"large/{name}.npy"] = buffer.getvalue()
    yield fs
    fs.reset()


@pytest.fixture(autouse=True)
def _clear(fs):
    fs.clear()


def test_group_reads_no_other(fs):
    """group= opens one field of view without reading the others."""
    image = slicedfs.open_dataarray(ROOT, group="primary/fov_4321", storage_options=OPTIONS)
    np.testing.assert_array_equal(image.values, [[[0, 1, 2], [3, 4, 5]]])
    names = ["experiment.json", "primary.json", "fov_4321.json", "fov_4321.npy", "fov_4321.npy"]
    assert fs.paths == [f"large/{name}" for name in names]


def test_select_reads_what_matches(fs):
    """select= reads the documents on matching paths alone, each once."""
    tree = xr.open_datatree(ROOT, engine="slicedfs", select="primary/fov_00[01]*", storage_options=OPTIONS)
    assert len(tree["primary"].children) == 20
    assert len(fs.paths) == 2 + 20 + 20  # documents, and one header a field of view
    assert len(set(fs.paths)) == 2 + 20 + 20


def test_depth_stops(fs):
    """depth= stops above the fields of view."""
    tree = xr.open_datatree(ROOT, engine="slicedfs", depth=1, storage_options=OPTIONS)
    assert tree.groups == ("/", "/primary")
    assert fs.paths == ["large/experiment.json", "large/primary.json"]


def test_thousands_at_once_with_progress(fs):
    """A stack of all fields of view reads their documents concurrently, within the bound, and listeners see each."""
    fs.delay_s = 0.001
    try:
        with slicedfs.trace() as seen:
            image = slicedfs.open_dataarray(ROOT, group="primary", stack="fov", storage_options=OPTIONS)
    finally:
        fs.delay_s = 0.0
    assert dict(image.sizes) == {"fov": FIELDS, "r": 1, "y": 2, "x": 3}
    assert len(fs.paths) == 2 + FIELDS + 1  # documents, and one header for all
    assert 32 <= fs.max_in_flight <= 256
    assert seen.documents == 2 + FIELDS
    fs.clear()
    assert image.sel(fov=["fov_0007", "fov_4999"]).values.sum() == 30
    assert fs.paths == ["large/fov_0007.npy", "large/fov_4999.npy"]
