"""Scattered rows of one tile: only they are read, in boxes of their own."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from smallsets import Bench, tile, tile_set

from slicedfs.layout.grid import Paste
from slicedfs.read.boxes import boxes_of

SHAPE = (40, 30)
ROW = 2048 * 2


def indices(size: int) -> st.SearchStrategy[slice | np.ndarray]:
    """Give slices and arrays of positions in range(size), as a paste has them."""
    slices = st.tuples(st.integers(0, size - 1), st.integers(1, size), st.integers(1, 9)).map(
        lambda t: slice(t[0], min(size, t[0] + t[1]), t[2])
    )
    arrays = st.lists(st.integers(0, size - 1), min_size=1, max_size=9).map(np.array)
    return st.one_of(slices, arrays)


@given(
    st.lists(st.tuples(indices(SHAPE[0]), indices(SHAPE[1])), min_size=1, max_size=4),
    st.integers(1, 50),
    st.integers(0, 200),
)
def test_all_that_is_wanted_lies_in_the_boxes(wanted, row_bytes, gap_bytes):
    """Every pixel wanted is in a box, and no box has a row that is farther from a wanted one than the gap allows."""
    pastes = [Paste(src, (slice(0, 1, 1), slice(0, 1, 1))) for src in wanted]
    boxes = boxes_of(pastes, row_bytes, gap_bytes)
    inside, asked = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    for box in boxes:
        inside[box] = True
    for y, x in wanted:
        asked[np.ix_(np.arange(SHAPE[0])[y], np.arange(SHAPE[1])[x])] = True
    assert (inside | ~asked).all()
    assert len(boxes) <= 64
    rows = np.flatnonzero(asked.any(axis=1))
    for row in np.flatnonzero(inside.any(axis=1)):
        above, below = rows[rows <= row].max(), rows[rows >= row].min()
        assert (below - above - 1) * row_bytes <= gap_bytes or row in rows


@pytest.fixture
def bench(request):
    """Give an image of 2048 x 2048 pixels in one tile, with its layout stated, so that no header is read."""
    layout = {"kind": "raw", "offset": 128, "dtype": "<u2", "order": "C"}
    with Bench(request.node.nodeid) as fresh:
        fresh.put(t=np.arange(2048 * 2048, dtype="uint16").reshape(2048, 2048))
        extras = {"slicedfs": {"dtype": "uint16", "layout": layout}}
        more = {"default_tile_shape": {"y": 2048, "x": 2048}, "default_tile_format": "NUMPY", "extras": extras}
        fresh.put(set=tile_set([tile("t.npy", r=0)], {"r": 1}, **more))
        yield fresh


PICKED = {
    "first and last row": ({"y": [0, 2047]}, 2, 2 * ROW),
    "every 512th row": ({"y": slice(None, None, 512)}, 4, 4 * ROW),
    "the same, reversed": ({"y": slice(None, None, -512)}, 4, 4 * ROW),
    "near rows are one": ({"y": [10, 13]}, 1, 4 * ROW),
    "two points": (
        {"y": xr.DataArray([5, 1500], dims="p"), "x": xr.DataArray([7, 2000], dims="p")},
        2,
        2 * (2000 - 7 + 1) * 2,
    ),
}


@pytest.mark.parametrize(("select", "requests", "n_bytes"), PICKED.values(), ids=PICKED)
def test_scattered_rows(bench, select, requests, n_bytes):
    """Rows far from each other are a request each, and nothing between them is read; the pixels are right."""
    array = bench.open().isel(r=0)
    expected = xr.DataArray(np.arange(2048 * 2048, dtype="uint16").reshape(2048, 2048), dims=("y", "x")).isel(select)
    np.testing.assert_array_equal(array.isel(select).values, expected.values)
    assert (len(bench.fs.log), sum(access.end - access.start for access in bench.fs.log)) == (requests, n_bytes)


def test_too_many_scattered_rows_are_read_as_one(bench):
    """More than 64 boxes are one around them all, which here is more than half of the tile: the whole."""
    array = bench.open().isel(r=0, y=slice(None, None, 16))
    expected = np.arange(2048 * 2048, dtype="uint16").reshape(2048, 2048)[::16]
    np.testing.assert_array_equal(array.values, expected)
    assert len(bench.fs.log) == 1
