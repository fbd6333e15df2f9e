"""Explain tells what reading would ask for, and asks for nothing itself."""

import pickle

import numpy as np
import pytest
import xarray as xr
from smallsets import Bench, plane, tile, tile_set

from slicedfs import Plan, explain
from slicedfs import open as open_node
from slicedfs.lazy import unwrap


@pytest.fixture
def bench(request):
    """Give files in memory: a mosaic of two by two tiles of 2 by 3 pixels at r=0, c=4."""
    with Bench(request.node.nodeid) as fresh:
        tiles = [
            tile(f"{y}{x}.npy", {"y": [2 * y, 2 * y + 2], "x": [3 * x, 3 * x + 3]}, r=0, c=4)
            for y, x in np.ndindex(2, 2)
        ]
        fresh.put_set(tiles, {"r": 1, "c": 1})
        yield fresh


def rows(plan):
    """Give file, labels, region and bytes of each row."""
    return [(row.url.rpartition("/")[2], row.labels, row.region, row.bytes) for row in plan.rows()]


def test_whole(bench):
    """A whole array is all its tiles."""
    plan = explain(bench.open())
    assert isinstance(plan, Plan)
    assert (plan.tiles, plan.requests, plan.bytes, plan.selected_bytes) == (4, 4, 48, 48)
    assert rows(plan) == [(f"{y}{x}.npy", "r=0, c=4", "all", 12) for y, x in np.ndindex(2, 2)]
    assert bench.read == []


def test_table(bench):
    """Its repr is a table: a line in all, then one a tile."""
    assert repr(explain(bench.open().isel(x=[0, 5], y=3))).splitlines() == [
        "2 tiles, 2 requests, 24 B for 4 B of pixels",
        "  r=0, c=4             y 1:2, x 0:1                 recording://b/10.npy",
        "  r=0, c=4             y 1:2, x 2:3                 recording://b/11.npy",
    ]


def test_long_table(bench):
    """A long table is cut, and says so."""
    bench.put_set([tile(f"{r}.npy", r=r) for r in range(25)], {"r": 25})
    lines = repr(explain(bench.open())).splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("25 tiles, 25 requests, 300 B for 300 B of pixels", 22, "  … 5 more")


FORMS = {
    "crop": (lambda a: a.isel(y=slice(0, 2), x=slice(2, 4)), [("00.npy", "x 2:3"), ("01.npy", "x 0:1")], 8),
    "labels": (lambda a: a.sel(x=0.5, y=slice(2, 4)), [("10.npy", "x 0:1")], 4),
    "stepped": (
        lambda a: a.isel(x=slice(None, None, 2), y=0),
        [("00.npy", "y 0:1, x 0:3:2"), ("01.npy", "y 0:1, x 1:2:2")],
        6,
    ),
    "reversed": (lambda a: a.isel(x=slice(None, 2, -1), y=0), [("01.npy", "y 0:1")], 6),
    "transposed": (lambda a: a.transpose("x", ...).isel(x=0, y=0), [("00.npy", "y 0:1, x 0:1")], 2),
    "points": (
        lambda a: a.isel(x=xr.DataArray([0, 5, 2], dims="p"), y=xr.DataArray([0, 3, 1], dims="p")),
        [("00.npy", "x 0:3:2"), ("11.npy", "y 1:2, x 2:3")],
        6,
    ),
    "empty": (lambda a: a.isel(x=[]), [], 0),
    "pickled": (lambda a: pickle.loads(pickle.dumps(a.isel(x=0, y=0))), [("00.npy", "y 0:1, x 0:1")], 2),
    "Dataset": (lambda a: a.to_dataset().isel(x=0, y=0), [("00.npy", "y 0:1, x 0:1")], 2),
    "SlicedArray": (lambda a: unwrap(a.isel(x=0, y=0).variable._data), [("00.npy", "y 0:1, x 0:1")], 2),
    "loaded by values": (lambda a: a if a.values.size else None, [], 48),
    "loaded": (lambda a: a.isel(x=0).load(), [], 8),
    "copied": (lambda a: a.copy(data=np.zeros(a.shape)), [], 24 * 8),
    "computed": (lambda a: a.isel(x=0) + 1, [], 8),
}


@pytest.mark.parametrize(("select", "expected", "size"), FORMS.values(), ids=FORMS)
def test_forms(bench, select, expected, size):
    """All that the engine gives, after any selection, can be explained; what is loaded needs nothing."""
    selected = select(bench.open())
    bench.fs.clear()
    plan = explain(selected)
    assert [(file, region) for file, _, region, _ in rows(plan)] == expected
    assert (plan.tiles, plan.requests, plan.bytes) == (len(expected), len(expected), 12 * len(expected))
    assert plan.selected_bytes == size
    assert bench.read == []


def test_points_that_are_not_evenly_stepped(bench):
    """Scattered points of one tile are counted, with the range they lie in."""
    points = {"x": xr.DataArray([0, 2, 2], dims="p"), "y": xr.DataArray([1, 0, 1], dims="p")}
    assert [region for _, _, region, _ in rows(explain(bench.open().isel(points)))] == [
        "y 3 points in 0:2, x 3 points in 0:3"
    ]


REFUSED = {
    "chunked": (lambda d: d.chunk(), r"^explain needs the array before it is chunked; open it with chunks=None$"),
    "chunked variable": (lambda d: d.image.chunk({"x": 1}), r"^explain needs the array before it is chunked"),
    "without image": (
        lambda d: d.drop_vars("image"),
        r"^explain needs a Dataset opened by slicedfs, this one has no variable 'image'$",
    ),
    "numpy": (lambda d: d.image.values, r"^explain needs a DataArray or Dataset opened by slicedfs, got ndarray$"),
    "None": (lambda d: None, r"^explain needs a DataArray or Dataset opened by slicedfs, got NoneType$"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(bench, change, message):
    """What does not come from the engine, or went through dask, cannot be explained."""
    with pytest.raises(TypeError, match=message):
        explain(change(bench.dataset()))


def test_another_engines_lazy_array(bench, tmp_path):
    """A lazy array of another engine cannot be explained."""
    xr.Dataset({"image": ("x", [1, 2])}).to_zarr(tmp_path / "a.zarr", zarr_format=2, consolidated=False)
    other = xr.open_dataset(tmp_path / "a.zarr", engine="zarr", consolidated=False)
    with other, pytest.raises(TypeError, match=r"^explain needs an array opened by slicedfs$"):
        explain(other)


def test_node(bench):
    """An array by way of slicedfs.open is explained like any other."""
    node = open_node(bench.url(), storage_options=bench.options)
    assert explain(node.to_dataarray()).tiles == 4


def test_stacks_show_the_names_of_their_members(bench):
    """In the plan of a stack a tile is labelled by the name of its field of view, not by its number."""
    bench.put(a=tile_set([tile("a.npy", r=0)], {"r": 1}), b=tile_set([tile("b.npy", r=0)], {"r": 1}))
    bench.put(a0=plane(0), set={"version": "0.1.0", "contents": {"one": "a.json", "two": "b.json"}})
    bench.fs.files["b/a.npy"] = bench.fs.files["b/b.npy"] = bench.fs.files["b/a0.npy"]
    assert [row.labels for row in explain(bench.open(stack="fov")).rows()] == ["fov=one, r=0", "fov=two, r=0"]


def big(bench):
    """Open two tiles of 1024 by 512 pixels of 2 bytes, whose layout is the same."""
    for r in range(2):
        bench.put(**{f"big{r}": np.full((1024, 512), r, "uint16")})
    bench.put(set=tile_set([tile(f"big{r}.npy", r=r) for r in range(2)], {"r": 2}))
    return bench.open()


def test_parts_of_large_tiles(bench):
    """Of large tiles only the rows count; a header that must confirm the layout is a request and its 128 bytes."""
    array = big(bench).isel(y=slice(500, 510))
    plan = explain(array)
    assert (plan.tiles, plan.requests, plan.bytes) == (2, 4, 2 * (128 + 10 * 1024))
    assert [(row.requests, row.bytes) for row in plan.rows()] == [(2, 128 + 10 * 1024)] * 2
    array.copy().values  # noqa: B018 - reads
    assert len(bench.fs.log) == plan.requests
    assert (explain(array).requests, explain(array).bytes) == (2, 2 * 10 * 1024)
    assert repr(explain(array)).splitlines()[0] == "2 tiles, 2 requests, 20 KiB for 20 KiB of pixels"


def test_most_of_large_tiles(bench):
    """Where more than half is wanted, the whole tile counts."""
    plan = explain(big(bench).isel(y=slice(0, 600)))
    assert (plan.requests, plan.bytes) == (2, 2 * 1024 * 1024)
