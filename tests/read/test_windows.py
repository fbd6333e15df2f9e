"""Any window, in every format: the pixels are those of the file."""

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from read.files import PLANES, STACKS, stacks
from read.sets import PICTURES, SHAPE, STATED, bench_of
from read.waves import TileBench

VOLUMES = stacks(2, (6, 400, 400))


def index(size: int) -> st.SearchStrategy[Any]:
    """Give an index of an axis: a number, or a slice of any step that selects something."""
    at = st.integers(0, size - 1)
    step = st.sampled_from([1, 1, 1, 2, 7, -1, -3])
    stretch = st.tuples(at, st.integers(1, 60), step).map(lambda a: _stretch(a[0], min(a[0] + a[1], size), a[2]))
    return at | stretch | st.just(slice(None))


def _stretch(start: int, stop: int, step: int) -> slice:
    if step > 0:
        return slice(start, stop, step)
    return slice(stop - 1, start - 1 if start else None, step)


def check_windows(bench: TileBench, opened: xr.DataArray, whole: np.ndarray[Any, Any]) -> None:
    """Compare many windows and points of the array with numpy's; some of them must have come in parts."""
    moved: list[int] = []
    windows = st.tuples(*[index(size) for size in whole.shape])
    points = st.lists(st.tuples(*[st.integers(0, size - 1) for size in whole.shape]), min_size=1, max_size=5)

    @settings(max_examples=20)
    @given(windows, points)
    def check(window: tuple[Any, ...], at: list[tuple[int, ...]]) -> None:
        bench.fs.clear()
        np.testing.assert_array_equal(opened[window].values, whole[window])
        moved.append(bench.fs.bytes_asked)
        joint = [xr.DataArray(list(axis), dims="point") for axis in zip(*at, strict=True)]
        expected = whole[tuple(np.array(axis) for axis in zip(*at, strict=True))]
        found = opened.isel(dict(zip(opened.dims, joint, strict=True)))
        np.testing.assert_array_equal(found.values, expected)

    check()
    some = [n for n in moved if n]
    assert min(some) < 0.4 * len(bench.files[0])


@pytest.mark.parametrize("name", list(PLANES))
def test_any_window_of_pictures(near: None, name: str) -> None:
    """Every window, step, direction and point of a picture gives what the whole file gives, in every format."""
    files = [PLANES[name](picture) for picture in PICTURES]
    extension = "npy" if name == "npy" else "tif"
    with bench_of(f"any-{name}", files, extension=extension, shape=SHAPE, extras=STATED) as bench:
        check_windows(bench, bench.open(memory_cache_bytes=0), np.stack(PICTURES))


@pytest.mark.parametrize("name", [name for name in STACKS if name != "zstd-strips"])
def test_any_window_of_stacks(near: None, name: str) -> None:
    """The same of stacks."""
    files = [STACKS[name](volume) for volume in VOLUMES]
    extension, shape = "npy" if name == "npy" else "tif", {"z": 6, "y": 400, "x": 400}
    with bench_of(f"stacked-{name}", files, VOLUMES, extension=extension, shape=shape, extras=STATED) as bench:
        check_windows(bench, bench.open(memory_cache_bytes=0), np.stack(VOLUMES))
