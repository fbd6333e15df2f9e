"""suggest_chunks(), and the warning before graphs that are too large."""

import warnings
from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conformance_set import OPTIONS, URL, filesystem
from hypothesis import given
from hypothesis import strategies as st
from smallsets import Bench, tile, tile_set

import slicedfs
from slicedfs.errors import GraphSizeWarning, SlicedfsWarning
from slicedfs.show import sizes
from slicedfs.show.chunking import MAX_CHUNKS
from slicedfs.testing import RecordingFileSystem

SET: Callable[[], RecordingFileSystem] = filesystem
TILE = 32 * 48 * 2
"""Bytes of a tile of the conformance set: (r, c, z, y, x) = (2, 3, 4, 64, 96), tiles of 32 x 48, uint16."""


@pytest.fixture
def fs() -> Iterator[RecordingFileSystem]:
    """Give the filesystem of the conformance set, emptied at the end."""
    made = SET()
    yield made
    made.reset()


@pytest.fixture
def image(fs: RecordingFileSystem) -> xr.DataArray:
    """Give the conformance set, its log empty."""
    opened = xr.open_dataset(URL, engine="slicedfs", storage_options=OPTIONS)["image"]
    fs.clear()
    return opened


@pytest.mark.parametrize(
    ("target", "along", "expected"),
    [
        (1, None, (1, 1, 1, 32, 48)),  # never less than a tile
        (TILE, None, (1, 1, 1, 32, 48)),
        (2 * TILE - 1, None, (1, 1, 1, 32, 48)),
        (2 * TILE, None, (1, 1, 2, 32, 48)),
        (3 * TILE, None, (1, 1, 2, 32, 48)),  # four in two even parts, not 3 + 1
        (4 * TILE, None, (1, 1, 4, 32, 48)),
        (8 * TILE, None, (1, 2, 4, 32, 48)),
        (12 * TILE, None, (1, 3, 4, 32, 48)),
        (24 * TILE, None, (2, 3, 4, 32, 48)),
        (48 * TILE, None, (2, 3, 4, 32, 96)),
        ("128MiB", None, (2, 3, 4, 64, 96)),
        ("128MiB", "r", (2, 1, 1, 32, 48)),
        ("128MiB", ("y", "x"), (1, 1, 1, 64, 96)),
        (3 * TILE, ("c", "z"), (1, 3, 1, 32, 48)),
        (6 * TILE, ("c", "z"), (1, 3, 2, 32, 48)),
        (6 * TILE, (), (1, 1, 1, 32, 48)),
    ],
)
def test_suggestions(image: xr.DataArray, target: Any, along: Any, expected: tuple[int, ...]) -> None:
    """Chunks are whole tiles, as many as fit, grown along one dim after the other."""
    found = slicedfs.suggest_chunks(image, target, along)
    assert found == dict(zip("rczyx", expected, strict=True))


def test_nothing_is_read(fs: RecordingFileSystem, image: xr.DataArray) -> None:
    """A suggestion makes no request, and its chunks read each tile once."""
    chunked = image.chunk(slicedfs.suggest_chunks(image, 6 * TILE))
    assert fs.log == []
    chunked.compute(scheduler="synchronous")
    assert len(fs.log) == len(set(fs.paths)) == 2 * 3 * 4 * 4 - 1  # one is missing


def test_crops(fs: RecordingFileSystem, image: xr.DataArray) -> None:
    """Of a crop that begins inside a tile, the first chunk is what is left of that tile."""
    crop = image.isel(y=slice(20, None), x=slice(50, 90), z=2)
    found = slicedfs.suggest_chunks(crop, 1)
    assert found == {"r": 1, "c": 1, "y": (12, 32), "x": 40}
    crop.isel(r=0, c=0).chunk({"y": found["y"]}).compute(scheduler="synchronous")
    assert sorted(fs.paths) == ["set/00201.npy", "set/00211.npy"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ({"x": slice(None, None, -1)}, {"x": 48}),
        ({"x": slice(None, 40, -1)}, {"x": 48}),  # and 7 more
        ({"x": slice(90, None, -1)}, {"x": (43, 48)}),
        ({"y": slice(None, None, 5)}, {"y": 7}),  # and 6 more
        ({"x": slice(0, 0)}, {"x": 0}),
        ({"y": [0, 1, 40, 2]}, {"y": (2, 1, 1)}),
        ({"r": [1, 0, 1]}, {"r": 1}),
    ],
)
def test_selections(image: xr.DataArray, key: dict[str, Any], expected: dict[str, Any]) -> None:
    """Steps, reversals and lists are cut where the next position lies in another tile."""
    found = slicedfs.suggest_chunks(image.isel(key), 1)
    assert {dim: found[dim] for dim in key} == expected
    assert image.isel(key).chunk(found).shape == image.isel(key).shape


def test_points(image: xr.DataArray) -> None:
    """Points selected jointly stay together."""
    points = image.isel(y=xr.DataArray([1, 50, 2], dims="spot"), x=xr.DataArray([1, 50, 2], dims="spot"), r=0)
    assert slicedfs.suggest_chunks(points, 1) == {"spot": 3, "c": 1, "z": 1}


def test_renamed_and_transposed(image: xr.DataArray) -> None:
    """The tiles are known under other names, and in another order."""
    found = slicedfs.suggest_chunks(image.rename(y="row").transpose("x", "row", ...), 1)
    assert found == {"x": 48, "row": 32, "r": 1, "c": 1, "z": 1}


def test_datasets(fs: RecordingFileSystem) -> None:
    """A Dataset is asked for its image, and the answer serves as chunks= when it is opened again."""
    dataset = xr.open_dataset(URL, engine="slicedfs", storage_options=OPTIONS)
    chunks: Any = slicedfs.suggest_chunks(dataset, 4 * TILE)
    assert chunks == {"r": 1, "c": 1, "z": 4, "y": 32, "x": 48}
    with warnings.catch_warnings(action="error"):  # xarray warns of chunks that cut tiles
        again = xr.open_dataset(URL, engine="slicedfs", storage_options=OPTIONS, chunks=chunks)
    assert again["image"].chunks == ((1, 1), (1, 1, 1), (4,), (32, 32), (48, 48))


def test_chunked_arrays(image: xr.DataArray) -> None:
    """Of an array that is chunked, whole chunks are put together."""
    assert slicedfs.suggest_chunks(image.chunk(z=2, y=32, x=96, r=1, c=1), 8 * TILE)["z"] == 4
    assert slicedfs.suggest_chunks(image.chunk(z=(1, 3), y=64, x=96, r=1, c=1), 1)["z"] == (1, 3)


def test_stacks_of_planes() -> None:
    """A z axis inside the tiles is no index dim: chunks grow along c first."""
    with Bench("chunks") as bench:
        bench.put_set([tile(f"t{i}.npy", {}, c=i) for i in range(4)], {"c": 4})
        for i in range(4):
            bench.put(**{f"t{i}": np.zeros((5, 2, 3), "uint8")})
        image = bench.open()
        assert image.sizes == {"c": 4, "z": 5, "y": 2, "x": 3}
        assert slicedfs.suggest_chunks(image, 60) == {"c": 2, "z": 5, "y": 2, "x": 3}


@given(start=st.tuples(st.integers(0, 63), st.integers(0, 95)), target=st.integers(1, 60 * TILE))
def test_no_tile_is_read_for_two_chunks(start: tuple[int, int], target: int) -> None:
    """Whatever is cut off, chunks end where tiles end, and keep to the target unless one tile is more."""
    SET()
    image = xr.open_dataset(URL, engine="slicedfs", storage_options=OPTIONS)["image"]
    crop = image.isel(y=slice(start[0], None), x=slice(start[1], None))
    chunked = crop.chunk(slicedfs.suggest_chunks(crop, target))
    assert chunked.shape == crop.shape
    assert chunked.chunks is not None
    for axis, first, size in ((3, start[0], 32), (4, start[1], 48)):
        assert all((first + end) % size == 0 for end in np.cumsum(chunked.chunks[axis]))
    largest = prod(max(lengths) for lengths in chunked.chunks) * 2
    alone = min(32, 64 - start[0]) * min(48, 96 - start[1]) * 2
    assert largest <= max(target, alone)


@pytest.mark.parametrize("obj", [1, None, np.zeros(3), xr.Dataset({"other": ("x", [1])})])
def test_other_objects(obj: Any) -> None:
    """Anything but a DataArray, or a Dataset with an image, is refused."""
    with pytest.raises(TypeError, match=r"^suggest_chunks needs a DataArray or Dataset opened by slicedfs, got \w+\.$"):
        slicedfs.suggest_chunks(obj)


def test_computed_arrays(image: xr.DataArray) -> None:
    """An array that does not know its tiles is refused."""
    with pytest.raises(TypeError, match=r"this one does not know its tiles\. Ask before computing with it\.$"):
        slicedfs.suggest_chunks(image + 1)


def test_dims_that_are_not_there(image: xr.DataArray) -> None:
    """A dim to grow along must be there."""
    with pytest.raises(ValueError, match=r"^along='t': there is no dim 't'; there are r, c, z, y, x\.$"):
        slicedfs.suggest_chunks(image, along="t")


# sizes as text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (5, 5),
        ("5", 5),
        ("1k", 1000),
        ("64 MB", 64_000_000),
        ("128MiB", 134_217_728),
        ("1.5GiB", 1_610_612_736),
        ("2e6", 2_000_000),
        ("1 tib", 1024**4),
        ("10B", 10),
    ],
    ids=repr,
)
def test_sizes(text: Any, expected: int) -> None:
    """Sizes are bytes, decimal units, or binary ones."""
    assert sizes.parsed(text, "target") == expected


@pytest.mark.parametrize(
    "text", ["", "MiB", "0", 0, -1, "-5MB", "5 apples", "1.2.3", True, None, "nan", "inf"], ids=repr
)
def test_no_sizes(image: xr.DataArray, text: Any) -> None:
    """What says no size is refused, with an example."""
    with pytest.raises(ValueError, match=r"^target must be a number of bytes >= 1 or a text such as '128MiB', got "):
        slicedfs.suggest_chunks(image, text)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (148224, "144.8 KiB"), (3 << 30, "3 GiB"), (5 << 50, "5120 TiB")],
)
def test_sizes_for_people(size: int, expected: str) -> None:
    """Sizes are shown in binary units with four digits."""
    assert sizes.shown(size) == expected


# the warning


@pytest.fixture
def large() -> Iterator[Bench]:
    """Give set.json of 50,001 positions, which only its first tile has a file for."""
    with Bench("graph size") as bench:
        bench.put(set=tile_set([tile("t.npy", r=0)], {"r": MAX_CHUNKS + 1}), t=np.zeros((2, 3), "uint8"))
        bench.put(root={"version": "0.1.0", "contents": {"fov": "set.json"}})
        yield bench


MESSAGE = (
    r"^chunks= makes 50001 chunks, and dask spends about a millisecond on each; more than 50000 are slow\. Open with "
    r"chunks='auto', or without chunks, select, and then \.chunk\(slicedfs\.suggest_chunks\(\.\.\.\)\)\.$"
)


def test_many_chunks_warn(large: Bench) -> None:
    """More than 50,000 chunks warn, in the line of the caller, wherever slicedfs sees chunks=."""
    assert issubclass(GraphSizeWarning, SlicedfsWarning)
    node = slicedfs.open(large.url(), storage_options=large.options)
    assert isinstance(node, slicedfs.TileSet)
    for opened in (
        lambda: slicedfs.open_dataarray(large.url(), storage_options=large.options, chunks={}),
        lambda: node.to_dataset(chunks={}),
        lambda: node.to_dataarray(chunks={}),
    ):
        with pytest.warns(GraphSizeWarning, match=MESSAGE) as caught:
            opened()
        assert [warning.filename for warning in caught] == [__file__]


def test_few_chunks_do_not_warn(large: Bench) -> None:
    """Chunks within the limit do not warn, nor does opening without chunks."""
    for chunks in (None, "auto", {"r": 2}):
        array = slicedfs.open_dataarray(
            large.url(), storage_options=large.options, chunks=chunks
        )  # warnings are errors
        assert array.shape == (50_001, 2, 3)
    exact = slicedfs.open_dataarray(large.url(), storage_options=large.options).isel(r=slice(1, None))
    assert exact.chunk(r=1).chunks is not None
