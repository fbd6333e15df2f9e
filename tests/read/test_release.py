"""What was read goes when the caller lets go of it: no cycle keeps arrays until the garbage collection."""

import gc
import weakref

import numpy as np
import pytest
from smallsets import Bench, tile, tile_set


@pytest.fixture
def bench(request):
    """Give three tiles of 512 KiB."""
    with Bench(request.node.nodeid) as fresh:
        fresh.put(**{f"t{r}": np.full((512, 512), r, "uint16") for r in range(3)})
        fresh.put(set=tile_set([tile(f"t{r}.npy", r=r) for r in range(3)], {"r": 3}))
        yield fresh


SELECTIONS = {
    "whole tiles": {},
    "parts to be confirmed": {"y": slice(100, 110)},
    "one tile": {"r": slice(1, 2)},
    "reversed": {"y": slice(None, None, -1)},
}


@pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
def test_results_are_freed_at_once(bench, select):
    """With the garbage collection off, the memory of a result is free once nobody refers to it."""
    array = bench.open(memory_cache_bytes=0)
    gc.collect()
    gc.disable()
    try:
        selected = array.isel(select)
        found = selected.values
        while found.base is not None:
            found = found.base
        watched = weakref.ref(found)
        assert watched() is found
        del found, selected
        assert watched() is None
    finally:
        gc.enable()
