"""A selection touches exactly the tiles it intersects, and pastes the right pixels."""

import numpy as np
from chains import chains, in_library, in_numpy
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.layout.grid import TileGrid, paste, touched
from slicedfs.layout.selection import Selection


@st.composite
def mosaics(draw):
    """Return (grid, tiles, pixels, owners): a grid with gaps, its tiles, and both as plain arrays."""
    counts = draw(st.lists(st.integers(1, 3), max_size=3))
    cuts = draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=0 if counts else 1, max_size=3))
    edges = tuple(np.cumsum([0, *sizes]) for sizes in cuts)
    table = np.arange(np.prod([*counts, *map(len, cuts)])).reshape([*counts, *map(len, cuts)]).astype(np.int32)
    gaps = draw(st.lists(st.integers(0, table.size - 1), max_size=3))
    table.ravel()[gaps] = -1
    shape = (*counts, *(int(edge[-1]) for edge in edges))
    pixels, owners, tiles = np.zeros(shape, int), np.full(shape, -1), {}
    origins = np.zeros((table.size, len(edges)), int)
    for cell in np.ndindex(table.shape):
        tile, index = table[cell], cell[: len(counts)]
        corner = [int(edge[i]) for edge, i in zip(edges, cell[len(counts) :], strict=True)]
        end = [int(edge[i + 1]) for edge, i in zip(edges, cell[len(counts) :], strict=True)]
        if tile >= 0:
            place = (*index, *(slice(a, b) for a, b in zip(corner, end, strict=True)))
            tiles[int(tile)] = 1000 * tile + np.arange(pixels[place].size).reshape(pixels[place].shape)
            origins[tile] = corner
            pixels[place], owners[place] = tiles[int(tile)], tile
    return TileGrid(shape, edges, table, origins), tiles, pixels, owners


@given(st.data(), mosaics())
def test_touched_and_pasted(data, mosaic):
    """After any chain, pixels equal numpy's, and the tiles touched are the owners of the pixels selected."""
    grid, tiles, pixels, owners = mosaic
    selection = Selection.whole(grid.shape)
    for step in data.draw(chains(grid.shape)):
        selection = in_library(selection, step)
        pixels, owners = np.asarray(in_numpy(pixels, step)), np.asarray(in_numpy(owners, step))
    found = touched(grid, selection)
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


def test_overlapping_cells_give_one_tile():
    """A tile that covers several cells is listed once, with one part a cell."""
    grid = TileGrid(
        shape=(4, 6),
        edges=(np.array([0, 4]), np.array([0, 3, 4, 6])),
        table=np.array([[0, 0, 1]], np.int32),
        origins=np.array([[0, 0], [0, 3]]),
    )
    found = touched(grid, Selection.whole((4, 6)))
    assert {tile: len(parts) for tile, parts in found.tiles.items()} == {0: 2, 1: 1}
    assert found.tiles[1][0].src == (slice(0, 4, 1), slice(1, 3, 1))


def test_large_steps_skip_tiles():
    """Tiles that a large step jumps over are not touched."""
    grid = TileGrid((1000,), (np.arange(0, 1001, 10),), np.arange(100, dtype=np.int32), np.arange(0, 1000, 10)[:, None])
    assert sorted(touched(grid, Selection.whole((1000,)).outer([slice(5, None, 250)])).tiles) == [0, 25, 50, 75]
    assert sorted(touched(grid, Selection.whole((1000,)).outer([slice(None, None, -400)])).tiles) == [19, 59, 99]


def test_points_do_not_touch_their_product():
    """Two corner points touch two tiles, not four."""
    grid = TileGrid((2, 2), (np.array([0, 1, 2]), np.array([0, 1, 2])), np.arange(4, dtype=np.int32).reshape(2, 2))
    found = touched(grid, Selection.whole((2, 2)).points([np.array([0, 1]), np.array([0, 1])]))
    assert sorted(found.tiles) == [0, 3]
