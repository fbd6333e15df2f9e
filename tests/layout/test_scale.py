"""Sets of many tiles: planning costs what is touched, and placing costs no Python a tile."""

import sys
import tracemalloc

import numpy as np
import pytest

from slicedfs.layout.grid import TileGrid
from slicedfs.layout.placement import place
from slicedfs.layout.selection import Selection
from slicedfs.model import Strings, Tiles, TileSetDocument


def stack(count):
    """Give a document of `count` tiles of 64 x 64: rounds of 10 channels of 10 planes."""
    number = np.arange(count)
    indices = {"r": number // 100, "c": number // 10 % 10, "z": number % 10}
    tiles = Tiles(Strings(b"", np.zeros(count, np.int64)), indices, {})
    shape = {"r": count // 100, "c": 10, "z": 10}
    return TileSetDocument("memory://m.json", "0.1.0", ("y", "x"), shape, tiles, {"y": 64, "x": 64})


def calls(function, *arguments):
    """Return what `function` returns, and how many functions of Python are called while it runs."""
    count = 0

    def step(_frame, event, _argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(step)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(None)
    return result, count


def test_a_stack_of_many():
    """A hundred thousand tiles are placed in as many calls as a thousand, and each of one shape takes 40 bytes."""
    place(stack(100), ("y", "x"), None, "edges")  # what numpy does at its first calls
    _, few = calls(place, stack(1000), ("y", "x"), None, "edges")
    document = stack(100_000)
    placed, many = calls(place, document, ("y", "x"), None, "edges")
    assert many == few
    assert placed.tile_shapes.shape == (100_000, 2)
    assert placed.tile_shapes.strides[0] == 0
    assert placed.grid.table.ravel().tolist() == list(range(100_000))
    tracemalloc.start()
    try:
        kept = place(document, ("y", "x"), None, "edges")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.grid.shape == (1000, 10, 10, 64, 64)
    assert held < 40 * 100_000


@pytest.mark.parametrize(
    ("key", "tiles"),
    [
        ((5, 3, 7), [537]),
        ((slice(10, 30), 2, slice(None)), [r * 100 + 20 + z for r in range(10, 30) for z in range(10)]),
        ((np.array([3, 1]), slice(None, None, -3), 0), [r * 100 + c * 10 for r in (3, 1) for c in (9, 6, 3, 0)]),
    ],
)
def test_touched_of_a_stack(key, tiles):
    """A selection touches the tiles that it names and no other, each with the one rectangle that is wanted of it."""
    placed = place(stack(100_000), ("y", "x"), None, "edges")
    selection = Selection.whole(placed.grid.shape).outer([*key, slice(3, 7), slice(None, None, -2)])
    touched = placed.grid.touched(selection)
    assert sorted(touched.tiles) == sorted(tiles)
    assert not touched.missing
    assert all(len(parts) == 1 for parts in touched.tiles.values())
    assert {str(part.src) for (part,) in touched.tiles.values()} == {"(slice(3, 7, 1), slice(1, 64, 2))"}
    assert touched.tiles[tiles[-1]][0].dst[3:] == (slice(0, 4, 1), slice(31, None, -1))


def test_planning_is_one_call_a_tile():
    """Looking up makes one object a touched tile, and calls nothing else of Python for it."""
    placed = place(stack(100_000), ("y", "x"), None, "edges")
    whole = Selection.whole(placed.grid.shape)
    for rounds in (10, 100):
        selection = whole.outer([slice(0, rounds), slice(None), slice(None), slice(0, 5), slice(0, 5)])
        touched, count = calls(placed.grid.touched, selection)
        assert len(touched.tiles) == 100 * rounds
        assert count < len(touched.tiles) + 5 * (rounds + 20) + 200


def test_gaps_among_many():
    """Positions without a tile are left out, and told."""
    table = np.arange(600, dtype=np.int32).reshape(20, 30, 1, 1)
    table[3, 4:8] = -1
    grid = TileGrid((20, 30, 8, 8), (np.array([0, 8]), np.array([0, 8])), table)
    touched = grid.touched(Selection.whole(grid.shape).outer([slice(2, 5), slice(3, 6), slice(None), 0]))
    assert list(touched.tiles) == [63, 64, 65, 93, 123, 124, 125]
    assert touched.missing
    assert touched.tiles[123][0].dst == (slice(2, 3, 1), slice(0, 1, 1), slice(0, 8, 1), slice(0, 1, 1))


def test_tiles_that_start_elsewhere_than_their_cells():
    """A tile that covers two cells is pasted in two parts, each from where it lies in the tile."""
    grid = TileGrid(
        shape=(2, 10),
        edges=(np.array([0, 2]), np.array([0, 4, 6, 10])),
        table=np.array([[0, 1, 1]], np.int32),
        origins=np.array([[0, 0], [0, 4]]),
    )
    touched = grid.touched(Selection.whole((2, 10)).outer([slice(None), slice(1, 9)]))
    assert [part.src[1] for part in touched.tiles[1]] == [slice(0, 2, 1), slice(2, 5, 1)]
    assert [part.dst[1] for part in touched.tiles[1]] == [slice(3, 5, 1), slice(5, 8, 1)]
    assert [part.src[1] for part in touched.tiles[0]] == [slice(1, 4, 1)]
