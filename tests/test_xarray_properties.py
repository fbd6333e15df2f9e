"""Whatever is selected, in whatever order: the pixels are numpy's, and exactly the tiles they lie in are read.

One property a kind of indexer that xarray's strategies draw, and one for chains of everything that they lack: empty and
boolean arrays, slices beyond the ends, arrays mixed with slices and integers, transposes.
"""

import asyncio
import pickle

import numpy as np
import profiles  # noqa: F401 - before the first @given
import pytest
import xarray as xr
import xarray.testing.strategies as xrst
from chains import positions, slices
from hypothesis import assume, example, given
from hypothesis import strategies as st
from smallsets import Bench, tile
from xarray.core.indexing import LazilyIndexedArray

from slicedfs import explain
from slicedfs.lazy import LazyPixels, PixelsBackendArray, unwrap

DIMS = ("r", "z", "y", "x")
SIZES = {"r": 2, "z": 2, "y": 9, "x": 7}
EMPTY = (1, 1)
"""(r, z) without any tile."""
Y_EDGES, X_EDGES = (0, 3, 5, 9), (0, 4, 7)
ABSENT = {(0, 1, 1, 0), (1, 0, 2, 1)}
"""(r, z, row, column) that no tile covers: gaps in the mosaic of cells."""


def cells():
    """Give (r, z, y, x, height, width) of tiles side by side, listed in an order that means nothing."""
    found = [
        (r, z, Y_EDGES[row], X_EDGES[column], Y_EDGES[row + 1] - Y_EDGES[row], X_EDGES[column + 1] - X_EDGES[column])
        for r, z, row, column in np.ndindex(2, 2, 3, 2)
        if (r, z, row, column) not in ABSENT and (r, z) != EMPTY
    ]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))]


def scattered():
    """Give the same for tiles at any offset, which overlap; a large one lies below many small ones."""
    rng = np.random.default_rng(1)
    found = [(0, 0, 0, 0, 9, 7), (1, 0, 8, 5, 1, 2), (0, 1, 4, 1, 2, 2), (0, 1, 3, 0, 4, 5)]
    for _ in range(30):
        r, z = [(0, 0), (0, 0), (0, 1), (1, 0)][rng.integers(4)]
        height, width = rng.integers(1, 4, 2)
        found.append((r, z, rng.integers(0, 10 - height), rng.integers(0, 8 - width), height, width))
    return [tuple(map(int, placed)) for placed in found]


class World:
    """One image set, its pixels, and for each pixel the number of its tile."""

    def __init__(self, name, placed):
        self.bench = Bench(f"properties-{name}")
        self.tiles = len(placed)
        pixels, owners = np.zeros(tuple(SIZES.values()), "uint16"), np.full(tuple(SIZES.values()), -1)
        tiles = []
        for number, (r, z, y, x, height, width) in enumerate(placed):
            part = (1000 * (number + 1) + np.arange(height * width)).reshape(height, width).astype("uint16")
            place = (r, z, slice(y, y + height), slice(x, x + width))
            pixels[place], owners[place] = part, number
            self.bench.put(**{f"t{number}": part})
            entry = tile(f"t{number}.npy", {"y": [y, y + height], "x": [x, x + width]}, r=r, z=z)
            tiles.append({**entry, "tile_shape": {"y": height, "x": width}})
        self.bench.put_set(tiles, {"r": 2, "z": 2})
        self.pixels, self.owners = xr.DataArray(pixels, dims=DIMS), xr.DataArray(owners, dims=DIMS)
        self.labelled = self.bench.open()
        self.lazy = self.labelled.drop_vars(list(self.labelled.coords))
        documented = LazilyIndexedArray(PixelsBackendArray(unwrap(self.lazy.variable._data)))
        self.documented = xr.DataArray(documented, dims=DIMS)
        """The same pixels the way that xarray documents."""

    def check(self, selected, pixels, owners):
        """Load `selected`: it must equal `pixels`, and cost one request for each of the tiles it lies in."""
        assert self.bench.read == [], "a tile was read while indexing"
        assert (selected.dims, selected.shape, selected.dtype) == (pixels.dims, pixels.shape, np.dtype("uint16"))
        values = selected.values
        assert (type(values), values.dtype) == (np.ndarray, np.dtype("uint16"))
        np.testing.assert_array_equal(values, pixels.values)
        assert sorted(self.bench.read) == needed(owners)
        assert [access.end for access in self.bench.fs.log] == [None] * len(self.bench.read)

    def check_indexed(self, indexers):
        """Select by `indexers` and check that."""
        self.bench.fs.clear()
        self.check(self.lazy.isel(indexers), self.pixels.isel(indexers), self.owners.isel(indexers))


CELLS, SCATTERED = World("cells", cells()), World("scattered", scattered())
CHUNKED = CELLS.bench.open(chunks={}).drop_vars(list(CELLS.labelled.coords))
both = pytest.mark.parametrize("world", [CELLS, SCATTERED], ids=["cells", "scattered"])


def needed(owners):
    """Give the names of the tiles that selected pixels lie in."""
    return sorted(f"t{number}.npy" for number in np.unique(owners.values) if number >= 0)


@st.composite
def mixed_indexers(draw, sizes):
    """Give integers, slices, arrays (empty ones too) and masks, some dims left out."""
    indexers = {}
    for dim, size in sizes.items():
        kind = draw(st.sampled_from(["none", "slice", "mask", "array", "int"][: 5 if size else 3]))
        if kind == "slice":
            indexers[dim] = draw(slices(size))
        elif kind == "mask":
            indexers[dim] = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), bool)
        elif kind == "array":
            indexers[dim] = draw(positions(size, (draw(st.integers(0, 4)),)))
        elif kind == "int":
            indexers[dim] = draw(st.integers(-size, size - 1))
    return indexers


@st.composite
def pointwise_indexers(draw, sizes):
    """Give arrays over the dims p and q or one of them (empty ones too), mixed with integers and slices."""
    lengths = {"p": draw(st.integers(0, 3)), "q": draw(st.integers(1, 3))}
    indexers = {}
    for dim, size in sizes.items():
        kind = draw(st.sampled_from(["none", "slice", "points", "points", "int"][: 5 if size else 2]))
        if kind == "slice":
            indexers[dim] = draw(slices(size))
        elif kind == "points":
            over = draw(st.sampled_from([("p",), ("q",), ("p", "q"), ("q", "p")]))
            picked = draw(positions(size, tuple(lengths[name] for name in over)))
            indexers[dim] = xr.DataArray(picked, dims=over)
        elif kind == "int":
            indexers[dim] = draw(st.integers(-size, size - 1))
    return indexers


@st.composite
def steps(draw, sizes):
    """Give the name of a method of DataArray and its argument: one step that is legal on `sizes`."""
    some = {dim: size for dim, size in sizes.items() if size}
    kinds = ["transpose", "mixed", "pointwise", "basic", "outer", "points"][: 3 + 2 * (len(some) > 0) + (len(some) > 1)]
    kind = draw(st.sampled_from(kinds))
    if kind == "transpose":
        return "transpose", tuple(draw(st.permutations(list(sizes))))
    strategies = {
        "mixed": lambda: mixed_indexers(sizes),
        "pointwise": lambda: pointwise_indexers(sizes),
        "basic": lambda: xrst.basic_indexers(sizes=some),
        "outer": lambda: xrst.outer_array_indexers(sizes=some),
        "points": lambda: xrst.vectorized_indexers(sizes=some),
    }
    return "isel", draw(strategies[kind]())


def done(array, step, number):
    """Do `step` on a DataArray; give new dims a name of their own, so that the next step may use p and q again."""
    method, argument = step
    array = array.transpose(*argument) if method == "transpose" else array.isel(argument)
    return array.rename({dim: f"{dim}_{number}" for dim in array.dims if dim not in DIMS})


def chain(data, *arrays, max_size=4):
    """Draw up to `max_size` steps and do each on all `arrays`."""
    for number in range(data.draw(st.integers(1, max_size))):
        step = data.draw(steps(dict(arrays[0].sizes)))
        arrays = tuple(done(array, step, number) for array in arrays)
    return arrays


@pytest.fixture(autouse=True, scope="module")
def _clean():
    yield
    for world in (CELLS, SCATTERED):
        world.bench.fs.reset()


def test_the_sets_are_as_meant():
    """The data of this module have gaps, an empty position, and tiles hidden in part and in whole."""
    assert CELLS.labelled.has_tile.values.tolist() == [[True, True], [True, False]]
    assert CELLS.labelled.encoding["preferred_chunks"] == {"r": 1, "z": 1, "y": (3, 2, 4), "x": 4}
    assert CHUNKED.chunks == ((1, 1), (1, 1), (3, 2, 4), (4, 3))
    assert len(np.unique(CELLS.owners)) == 1 + CELLS.tiles == 17
    shown, areas = np.unique(SCATTERED.owners, return_counts=True)
    assert 2 not in shown, "tile 2 lies under tile 3"
    assert areas[shown.tolist().index(0)] < 9 * 7, "tile 0 is hidden in part"
    assert sum(placed[:2] == (0, 0) for placed in scattered()) > 9, "many tiles lie over it"
    for world in (CELLS, SCATTERED):
        assert world.labelled.sizes == SIZES
        assert isinstance(world.documented.variable._data, LazilyIndexedArray)


@both
@given(xrst.basic_indexers(sizes=SIZES))
def test_basic(world, indexers):
    """Integers and slices."""
    world.check_indexed(indexers)


@both
@given(xrst.outer_array_indexers(sizes=SIZES))
@example({"x": np.array([0, 1, 1, 3])})  # ends as an even step of 1 would, but is none
@example({"y": np.array([5, 7, 6, 8, 5])})
def test_outer(world, indexers):
    """Arrays, each along its own axis."""
    world.check_indexed(indexers)


@both
@given(xrst.vectorized_indexers(sizes=SIZES))
def test_vectorized(world, indexers):
    """Arrays taken jointly read the tiles of their points, not of the points' product."""
    world.check_indexed(indexers)


@both
@given(mixed_indexers(SIZES))
def test_mixed(world, indexers):
    """Integers, slices beyond the ends, arrays and masks in one call; empty ones cost nothing."""
    world.check_indexed(indexers)


@both
@given(pointwise_indexers(SIZES))
def test_pointwise_mixed(world, indexers):
    """Joint arrays of several shapes with integers and slices in one call."""
    world.check_indexed(indexers)


@both
@given(st.data())
def test_chains(world, data):
    """Up to four steps of any kind, transposes between them."""
    world.bench.fs.clear()
    world.check(*chain(data, world.lazy, world.pixels, world.owners))


@both
@given(st.data())
def test_chains_are_explained(world, data):
    """Explain names the tiles that reading then asks for, without a request."""
    world.bench.fs.clear()
    selected, _, owners = chain(data, world.lazy, world.pixels, world.owners)
    plan = explain(selected)
    assert world.bench.read == []
    names = sorted(row.url.rpartition("/")[2] for row in plan.rows())
    assert names == needed(owners)
    assert (plan.tiles, plan.requests, plan.selected_bytes) == (len(names), len(names), selected.size * 2)


@given(st.data())
def test_labels_travel(data):
    """With coordinates, the selected array is identical to the one that was loaded before."""
    loaded = CELLS.labelled.copy(data=CELLS.pixels.values)
    lazy, loaded, owners = chain(data, CELLS.labelled, loaded, CELLS.owners, max_size=2)
    CELLS.bench.fs.clear()
    xr.testing.assert_identical(lazy.load(), loaded)
    assert sorted(CELLS.bench.read) == needed(owners)


@given(st.data())
def test_async_equals_sync(data):
    """load_async gives the same pixels for the same requests."""
    CELLS.bench.fs.clear()
    selected, pixels, owners = chain(data, CELLS.lazy, CELLS.pixels, CELLS.owners, max_size=2)
    loaded = asyncio.run(selected.load_async())
    np.testing.assert_array_equal(loaded.values, pixels.values)
    assert sorted(CELLS.bench.read) == needed(owners)


@given(st.data())
def test_pickled_chains(data):
    """A selection that was pickled and a deep copy give the same pixels."""
    selected, pixels, owners = chain(data, CELLS.lazy, CELLS.pixels, CELLS.owners, max_size=3)
    for same in (pickle.loads(pickle.dumps(selected)), selected.copy(deep=True)):
        CELLS.bench.fs.clear()
        CELLS.check(same, pixels, owners)


@given(st.data())
def test_assigned_selections(data):
    """Assigning to a selection, transposed or not, changes that selection and nothing that others read."""
    selected, pixels = chain(data, CELLS.lazy, CELLS.pixels, max_size=2)
    assume(pixels.size)
    changed = selected.copy()
    changed[...] = 7
    assert (changed.values == 7).all()
    np.testing.assert_array_equal(selected.values, pixels.values)


def tamed(step, sizes):
    """Replace what xarray's own lazy classes get wrong: some reversed slices, and an integer for every dim.

    Reversed slices that are empty, or start or stop outside, give rows (2026.9: LazilyIndexedArray). An integer for
    every dim fails on what was transposed or selected pointwise (LazilyVectorizedIndexedArray).
    """
    method, argument = step
    if method == "transpose":
        return step

    def right(k, size):
        inside = all(bound is None or -size <= bound < size for bound in (k.start, k.stop))
        return (k.step or 1) > 0 or (inside and len(range(size)[k]) > 0)

    whole = slice(None)
    argument = {dim: whole if isinstance(k, slice) and not right(k, sizes[dim]) else k for dim, k in argument.items()}
    if len(argument) == len(sizes) and all(not isinstance(k, slice) and np.ndim(k) == 0 for k in argument.values()):
        argument.popitem()
    return method, argument


@given(st.data())
def test_documented_way(data):
    """The documented BackendArray gives the same pixels wherever xarray composes correctly."""
    CELLS.bench.fs.clear()
    selected, pixels, owners = CELLS.documented, CELLS.pixels, CELLS.owners
    for number in range(data.draw(st.integers(1, 4))):
        step = tamed(data.draw(steps(dict(pixels.sizes))), dict(pixels.sizes))
        selected, pixels, owners = (done(array, step, number) for array in (selected, pixels, owners))
    assert CELLS.bench.read == []
    np.testing.assert_array_equal(selected.values, pixels.values)
    assert set(CELLS.bench.read) >= set(needed(owners))


@given(xrst.basic_indexers(sizes=SIZES), st.sampled_from(DIMS))
def test_chunked(indexers, dim):
    """With dask a crop, and a sum of it, equal numpy's; a crop reads only the tiles that it lies in."""
    CELLS.bench.fs.clear()
    selected, pixels = CHUNKED.isel(indexers), CELLS.pixels.isel(indexers)
    np.testing.assert_array_equal(selected.values, pixels.values)
    read, least = CELLS.bench.read, set(needed(CELLS.owners.isel(indexers)))
    assert len(read) == len(set(read))
    assert least <= set(read)
    if pixels.size and not any(isinstance(k, slice) and k.step not in (None, 1, -1) for k in indexers.values()):
        assert least == set(read)  # of empty and stepped slices dask may take nothing from a chunk that it computes
    if dim in pixels.dims:
        np.testing.assert_array_equal(selected.sum(dim).values, pixels.sum(dim).values)


@st.composite
def outside(draw, sizes):
    """Give an indexer with one position outside its axis."""
    dim = draw(st.sampled_from(sorted(sizes)))
    size = sizes[dim]
    bad = draw(st.integers(size, size + 9) | st.integers(-size - 9, -size - 1))
    if draw(st.booleans()):
        return {dim: bad}
    good = draw(st.lists(st.integers(-size, size - 1), max_size=3)) if size else []
    place = draw(st.integers(0, len(good)))
    array = np.array([*good[:place], bad, *good[place:]])
    return {dim: array if draw(st.booleans()) else xr.DataArray(array, dims="p")}


@given(st.data())
def test_bounds(data):
    """A position outside its axis is refused at once, after any chain, without a request."""
    CELLS.bench.fs.clear()
    (selected,) = chain(data, CELLS.lazy, max_size=3)
    assume(selected.ndim)
    indexers = data.draw(outside(dict(selected.sizes)))
    with pytest.raises(IndexError, match=r"^index -?\d+ is out of bounds for axis \d+ with size \d+$"):
        selected.isel(indexers)
    assert CELLS.bench.read == []


def test_lazy_all_along():
    """The engine's own array is in place behind xarray's wrappers, so these properties are about it."""
    data = CELLS.lazy.isel(r=0).transpose("x", "z", "y").variable._data
    while not isinstance(data, LazyPixels):
        data = data.array
    assert data.shape == (7, 2, 9)
