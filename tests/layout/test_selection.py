"""Selections compose like numpy, whatever the order."""

import numpy as np
import pytest
from chains import chains, in_library, in_numpy
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.layout.selection import Points, Selection, Span

shapes = st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple)


def gathered(array, selection):
    """Evaluate a selection on a numpy array by one open mesh."""
    ndims = [len(group.shape) for group in selection.groups]
    starts = np.cumsum([0, *ndims])
    mesh = [None] * array.ndim
    for group, start, ndim in zip(selection.groups, starts, ndims, strict=False):
        picks = [np.array(group.indices, int)] if isinstance(group, Span) else group.arrays
        for axis, pick in zip(group.axes, picks, strict=True):
            mesh[axis] = pick.reshape((1,) * start + pick.shape + (1,) * (starts[-1] - start - ndim))
    flat = array[tuple(mesh)] if mesh else array
    full = np.broadcast_to(flat, tuple(size for group in selection.groups for size in group.shape))
    return full.transpose([starts[group] + axis for group, axis in selection.order])


@given(st.data(), shapes)
def test_chains(data, shape):
    """Any chain of outer, pointwise and transposing steps equals the same steps in numpy."""
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    selection = Selection.whole(shape)
    for step in data.draw(chains(shape, max_size=4)):
        array, selection = np.asarray(in_numpy(array, step)), in_library(selection, step)
    base = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    assert selection.shape == array.shape
    np.testing.assert_array_equal(gathered(base, selection), array)


def test_slices_stay_ranges():
    """Slices of slices keep no arrays, so a selection of a billion pixels costs nothing."""
    selection = Selection.whole((10**9,)).outer([slice(None, None, -1)]).outer([slice(5, None, 3)])
    assert selection.groups == (selection.groups[0],)
    assert selection.groups[0].indices == range(10**9 - 6, -1, -3)


def test_points_merge_only_what_they_touch():
    """Pointwise selection along two axes leaves the third a span."""
    selection = Selection.whole((4, 5, 6)).points([np.array([0, 1]), slice(None), np.array([5, -1])])
    assert [type(group) for group in selection.groups] == [Points, Span]
    assert selection.shape == (2, 5)
    assert [array.tolist() for array in selection.groups[0].arrays] == [[0, 1], [5, 5]]


@pytest.mark.parametrize("key", [8, -9, np.array([0, 8]), np.array([-9])])
def test_bounds_at_once(key):
    """A position outside the axis is refused when selecting, not when reading."""
    with pytest.raises(IndexError, match=r"index (8|-9) is out of bounds for axis 1 with size 8"):
        Selection.whole((3, 8)).outer([slice(None), key])
    if isinstance(key, np.ndarray):
        with pytest.raises(IndexError, match=r"index (8|-9) is out of bounds for axis 1 with size 8"):
            Selection.whole((3, 8)).points([slice(None), key])


def test_wrong_keys():
    """Arrays of floats, of two axes for outer selection, and wrong orders are refused."""
    whole = Selection.whole((3, 8))
    with pytest.raises(IndexError, match="axis 0 is indexed by float64, integers are needed"):
        whole.outer([np.array([0.5]), slice(None)])
    with pytest.raises(IndexError, match="axis 1 is indexed by an array of 2 axes, at most 1 is possible"):
        whole.outer([slice(None), np.zeros((2, 2), int)])
    with pytest.raises(ValueError, match=r"axes \(0, 0\) are not a permutation of range\(2\)"):
        whole.transpose((0, 0))
