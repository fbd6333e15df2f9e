"""Random chains of selections, and what numpy makes of them: shared by the property tests."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st


@dataclass(frozen=True)
class Step:
    """One selection: "outer" and "points" with a key an axis, or "transpose" with an order."""

    kind: str
    key: tuple[Any, ...]


def slices(size):
    """Return slices with any start, stop and step, out-of-range and reversed ones included."""
    bound = st.none() | st.integers(-size - 2, size + 2)
    return st.builds(slice, bound, bound, st.none() | st.sampled_from([1, 2, 3, 7, -1, -2, -3]))


def positions(size, shape):
    """Return an array of legal positions of `shape`, negative ones and duplicates included."""
    count = int(np.prod(shape))
    return st.lists(st.integers(-size, size - 1), min_size=count, max_size=count).map(
        lambda drawn: np.array(drawn, np.int64).reshape(shape)
    )


@st.composite
def outer_keys(draw, shape):
    """Return one int, slice or 1-d array an axis."""
    key = []
    for size in shape:
        kinds = ["slice", "int", "array"] if size else ["slice"]
        kind = draw(st.sampled_from(kinds))
        if kind == "int":
            key.append(draw(st.integers(-size, size - 1)))
        elif kind == "array":
            key.append(draw(positions(size, (draw(st.integers(0, 4)),))))
        else:
            key.append(draw(slices(size)))
    return tuple(key)


@st.composite
def point_keys(draw, shape):
    """Return slices, and arrays of one common shape, an axis."""
    points = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    return tuple(
        draw(positions(size, points)) if size and draw(st.booleans()) else draw(slices(size)) for size in shape
    )


@st.composite
def steps(draw, shape):
    """Return one step that is legal on an array of `shape`."""
    kind = draw(st.sampled_from(["outer", "points", "transpose"]))
    if kind == "transpose":
        return Step(kind, tuple(draw(st.permutations(range(len(shape))))))
    return Step(kind, draw(outer_keys(shape) if kind == "outer" else point_keys(shape)))


@st.composite
def chains(draw, shape, max_size=3):
    """Return a list of steps, each legal on what the earlier ones leave."""
    probe, drawn = np.empty(shape, np.int8), []
    for _ in range(draw(st.integers(1, max_size))):
        drawn.append(draw(steps(probe.shape)))
        probe = in_numpy(probe, drawn[-1])
    return drawn


def in_numpy(array, step):
    """Do `step` with plain numpy, one axis at a time."""
    if step.kind == "transpose":
        return array.transpose(step.key)
    if step.kind == "outer":
        axis = 0
        for k in step.key:
            array = array[(slice(None),) * axis + (k,)]
            axis += not isinstance(k, int)
        return array
    joint = [axis for axis, k in enumerate(step.key) if not isinstance(k, slice)]
    sliced = array[tuple(k if isinstance(k, slice) else slice(None) for k in step.key)]
    rest = [axis for axis in range(array.ndim) if axis not in joint]
    return sliced.transpose(joint + rest)[tuple(step.key[axis] for axis in joint)]


def in_library(selectable, step):
    """Do `step` on a Selection or SlicedArray."""
    return getattr(selectable, step.kind)(step.key)
