"""Tiles at any offset, overlapping: a selection touches exactly those that show, and the last listed is on top."""

import sys

import numpy as np
import profiles  # noqa: F401 - before the first @given
import pytest
from chains import chains, in_library, in_numpy
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.layout.grid import paste
from slicedfs.layout.scattered import ScatteredGrid, touched_scattered
from slicedfs.layout.selection import Selection


@st.composite
def heaps(draw):
    """Give (grid, tiles, pixels, owners): tiles anywhere, a few of them large, and what shows as plain arrays."""
    counts = draw(st.lists(st.integers(1, 3), max_size=2))
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    n = draw(st.integers(1, 9))
    positions = np.array(draw(st.lists(st.integers(0, int(np.prod(counts)) - 1), min_size=n, max_size=n)), np.int64)
    sizes, origins = np.zeros((2, n, len(lengths)), np.int64)
    for i, (tile, axis) in enumerate(np.ndindex(n, len(lengths))):
        largest = lengths[axis] if i % 5 == 0 else min(3, lengths[axis])
        sizes[tile, axis] = draw(st.integers(1, largest))
        origins[tile, axis] = draw(st.integers(0, lengths[axis] - int(sizes[tile, axis])))
    shape = (*counts, *lengths)
    pixels, owners, tiles = np.zeros(shape, int), np.full(shape, -1), []
    for tile, (position, origin, size) in enumerate(zip(positions, origins, sizes, strict=True)):
        tiles.append(10_000 * (tile + 1) + np.arange(size.prod()).reshape(size))
        place = (*np.unravel_index(position, counts), *map(slice, origin, origin + size))
        pixels[place], owners[place] = tiles[-1], tile
    return ScatteredGrid.build(shape, positions, origins, sizes), tiles, pixels, owners


@given(st.data(), heaps())
def test_touched_and_pasted(data, heap):
    """After any chain, pixels equal numpy's, and the tiles touched are the owners of the pixels selected."""
    grid, tiles, pixels, owners = heap
    selection = Selection.whole(grid.shape)
    for step in data.draw(chains(grid.shape)):
        selection = in_library(selection, step)
        pixels, owners = np.asarray(in_numpy(pixels, step)), np.asarray(in_numpy(owners, step))
    found = grid.touched(selection)
    assert set(found.tiles) == set(np.unique(owners).tolist()) - {-1}
    assert found.missing == (-1 in owners)
    out = np.zeros(found.shape, int)
    for tile, parts in found.tiles.items():
        for part in parts:
            paste(tiles[tile], out, part, selection.groups)
    shapes = [group.shape for group in selection.groups]
    starts = np.cumsum([0, *map(len, shapes)])
    unfolded = out.reshape([size for shape in shapes for size in shape])
    np.testing.assert_array_equal(unfolded.transpose([starts[g] + a for g, a in selection.order]), pixels)


def test_hidden_tiles_do_not_show():
    """A tile under others, each of which hides a part of it, is not touched; one pixel left of it is enough."""
    origins, sizes = np.array([[0, 0], [0, 0], [2, 0]]), np.array([[4, 4], [2, 4], [2, 4]])
    grid = ScatteredGrid.build((4, 4), np.zeros(3, np.int64), origins, sizes)
    assert sorted(grid.touched(Selection.whole((4, 4))).tiles) == [1, 2]
    sizes[2] = (2, 3)
    grid = ScatteredGrid.build((4, 4), np.zeros(3, np.int64), origins, sizes)
    assert sorted(grid.touched(Selection.whole((4, 4))).tiles) == [0, 1, 2]
    assert grid.touched(Selection.whole((4, 4)).outer([slice(3, 4), slice(3, 4)])).tiles.keys() == {0}


def jittered(rows, columns, large=0):
    """Give a grid of tiles of 8 x 8 about every 6 pixels, overlapping, and `large` tiles of its whole length."""
    rng = np.random.default_rng(7)
    corners = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2) * 6
    origins = corners + rng.integers(0, 3, corners.shape)
    sizes = np.full(origins.shape, 8)
    length = 6 * max(rows, columns) + 8
    origins = np.concatenate([np.zeros((large, 2), np.int64), origins])
    sizes = np.concatenate([np.full((large, 2), length), sizes])
    return ScatteredGrid.build((length, length), np.zeros(len(origins), np.int64), origins, sizes)


def calls(function, *arguments):
    """Return how many functions, of Python and of C, are called while `function` runs."""
    count = 0

    def step(_frame, event, _argument):
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(step)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("large", [0, 2], ids=["alike", "two large ones below"])
def test_planning_does_not_grow_with_the_tiles(large):
    """A crop of a million overlapping tiles is looked up in as many calls as the same crop of ten thousand."""
    few, many = jittered(100, 100, large), jittered(1000, 1000, large)
    crop = (slice(100, 120), slice(130, 150))
    counts = []
    for grid in (few, many):
        selection = Selection.whole(grid.shape).outer(crop)
        counts.append(calls(touched_scattered, grid, selection))
        assert 0 < len(grid.touched(selection).tiles) < 40
    assert counts[1] < 1.5 * counts[0]


def test_building_has_no_loop_over_tiles():
    """A grid of a million tiles is built in as many calls as one of ten thousand."""
    few, many = (calls(jittered, n, n) for n in (100, 1000))
    assert few == many < 1000


def test_points_of_one_cell_share_a_lookup():
    """Many points in a few tiles cost calls by the tiles, not by the points."""
    grid = jittered(20, 20)
    rng = np.random.default_rng(3)

    def plan(count):
        y, x = rng.integers(40, 60, (2, count))
        return calls(grid.touched, Selection.whole(grid.shape).points([y, x]))

    assert plan(40_000) < 1.5 * plan(4_000)


def test_many_tiles_on_one():
    """A large tile shows between all that lie on it; what is left of it costs calls by their number, not its square."""

    def plan(n):
        corners = np.stack(np.meshgrid(np.arange(n), np.arange(n), indexing="ij"), axis=-1).reshape(-1, 2) * 3
        origins = np.concatenate([[[0, 0]], corners])
        sizes = np.concatenate([[[3 * n, 3 * n]], np.full(corners.shape, 2)])
        grid = ScatteredGrid.build((3 * n, 3 * n), np.zeros(len(origins), np.int64), origins, sizes)
        selection = Selection.whole(grid.shape)
        found = grid.touched(selection)
        seen = np.zeros(grid.shape, int)
        for part in found.tiles[0]:
            seen[part.dst] += 1
        y, x = np.indices(grid.shape) % 3
        np.testing.assert_array_equal(seen, (y == 2) | (x == 2))
        assert len(found.tiles) == n * n + 1
        return calls(grid.touched, selection)

    assert plan(32) < 8 * plan(16)


def test_a_few_large_tiles_leave_the_others_alone():
    """Where one tile covers everything, looking up a pixel still sees only its neighbours."""
    grid = jittered(300, 300, large=1)
    assert len(grid.bins) == 2
    near = [piece for bins in grid.bins for piece in bins.near(0, ((900, 901), (900, 901)))]
    assert sum(map(len, near)) < 20


def test_bins_fit_into_their_numbers():
    """The space may be as large as mosaics may be, in three dims, with many positions and tiles of one pixel."""
    shape = (2**26, 2**27, 2**27, 2**27)
    origins = np.array([[0, 0, 0], [2**27 - 1] * 3])
    grid = ScatteredGrid.build(shape, np.array([0, 2**26 - 1]), origins, np.ones((2, 3), np.int64))
    corner = Selection.whole(shape).outer([slice(2**26 - 1, None)] + [slice(2**27 - 1, None)] * 3)
    assert grid.touched(corner).tiles.keys() == {1}
    assert not grid.touched(corner).missing
