"""What was selected of an array: composed lazily, checked at once. Pure numpy.

A :class:`Selection` says, for every axis of the base array, which positions are wanted, and how the axes of the result
are ordered. Selecting from a selection gives a selection; nothing is gathered until pixels are read. Slices stay
``range`` objects (exact for negative steps and empty results), transposing permutes the order of the axes only, and
points selected jointly stay points, so that reading them touches their tiles and not the tiles of their product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Group", "Points", "Selection", "Span"]


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Evenly stepped positions along one axis; gives one axis of the result."""

    axis: int
    """Axis of the base array."""
    indices: range
    """Positions, each in range(size of the axis); any step."""

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes of the base array that the group selects from."""
        return (self.axis,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that the group adds to the result."""
        return (len(self.indices),)

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the base positions of the given `positions` in the span, any shape."""
        return self.indices.start + self.indices.step * positions


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Positions along one or more axes, taken jointly; gives as many axes as the arrays have."""

    axes: tuple[int, ...]
    """Axes of the base array."""
    arrays: tuple[NDArray[np.int64], ...]
    """One array of positions an axis, all of one shape; 0-d for a single position."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that the group adds to the result."""
        return self.arrays[0].shape


Group = Span | Points


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Part of a base array, in any order of axes."""

    groups: tuple[Group, ...]
    """Every axis of the base array is in exactly one group; sorted by their first axis."""
    order: tuple[tuple[int, int], ...]
    """Axis of the result -> (group, axis within the group)."""

    @classmethod
    def whole(cls, shape: Sequence[int]) -> "Selection":
        """Select all of an array of `shape`."""
        spans = tuple(Span(axis, range(size)) for axis, size in enumerate(shape))
        return cls(spans, tuple((axis, 0) for axis in range(len(shape))))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.groups[group].shape[axis] for group, axis in self.order)

    @property
    def ndim(self) -> int:
        """Number of axes of the result."""
        return len(self.order)

    def transpose(self, order: Sequence[int]) -> "Selection":
        """Put the axes of the result into `order`, a permutation of range(ndim)."""
        if sorted(order) != list(range(self.ndim)):
            raise ValueError(f"axes {tuple(order)} are not a permutation of range({self.ndim})")
        return Selection(self.groups, tuple(self.order[axis] for axis in order))

    def outer(self, key: Sequence[Any]) -> "Selection":
        """Select independently along each axis of the result.

        Parameters
        ----------
        key
            One int (drops the axis), slice or 1-d integer array an axis of the result.

        Raises
        ------
        IndexError
            If a position lies outside the axis, or an array has more than one axis.
        """
        checked = [_checked(k, size, axis) for axis, (k, size) in enumerate(zip(key, self.shape, strict=True))]
        keys: list[list[Any]] = [[slice(None)] * len(group.shape) for group in self.groups]
        for (group, axis), k in zip(self.order, checked, strict=True):
            keys[group][axis] = k
        groups = [_narrow(group, k) for group, k in zip(self.groups, keys, strict=True)]
        kept = [place for place, k in zip(self.order, checked, strict=True) if not isinstance(k, int)]
        order = [(g, sum(not isinstance(k, int) for k in keys[g][:axis])) for g, axis in kept]
        return _sorted(groups, order)

    def points(self, key: Sequence[Any]) -> "Selection":
        """Select jointly along the axes that `key` gives arrays for.

        Parameters
        ----------
        key
            One slice or n-d integer array an axis of the result; arrays are broadcast against each other.

        Returns
        -------
        Selection
            With the axes of the arrays first, then the sliced axes in their order.

        Raises
        ------
        IndexError
            If a position lies outside its axis.
        """
        slices = [k if isinstance(k, slice) else slice(None) for k in key]
        joint = [axis for axis, k in enumerate(key) if not isinstance(k, slice)]
        if not joint:
            return self.outer(slices)
        arrays = np.broadcast_arrays(*(_wrapped(key[axis], self.shape[axis], axis) for axis in joint))
        return self.outer(slices)._join(dict(zip(joint, arrays, strict=True)))

    def _join(self, arrays: dict[int, NDArray[np.int64]]) -> "Selection":
        """Merge every group that `arrays` (axis of the result -> positions) touches into one of points."""
        ndim = next(iter(arrays.values())).ndim
        touched = sorted({self.order[axis][0] for axis in arrays})
        rest = [axis for axis in range(self.ndim) if axis not in arrays and self.order[axis][0] in touched]
        shape = next(iter(arrays.values())).shape + tuple(self.shape[axis] for axis in rest)
        axes: list[int] = []
        merged: list[NDArray[np.int64]] = []
        for g in touched:
            picks = [self._pick(place, arrays, rest, shape) for place in _places(self.order, g)]
            axes += self.groups[g].axes
            merged += [np.broadcast_to(a, shape) for a in _take(self.groups[g], picks)]
        groups: list[Group] = [group for g, group in enumerate(self.groups) if g not in touched]
        moved = {g: i for i, g in enumerate(g for g in range(len(self.groups)) if g not in touched)}
        order = [(len(groups), axis) for axis in range(ndim)]
        for axis in range(self.ndim):
            if axis in rest:
                order.append((len(groups), ndim + rest.index(axis)))
            elif axis not in arrays:
                order.append((moved[self.order[axis][0]], self.order[axis][1]))
        return _sorted([*groups, Points(tuple(axes), tuple(merged))], order)

    def _pick(
        self, axis: int, arrays: dict[int, NDArray[np.int64]], rest: list[int], shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """Return the positions wanted along `axis` of the result, broadcastable to `shape`."""
        if axis in arrays:
            return arrays[axis].reshape(arrays[axis].shape + (1,) * len(rest))
        place = len(shape) - len(rest) + rest.index(axis)
        return np.arange(self.shape[axis]).reshape([-1 if i == place else 1 for i in range(len(shape))])


def _places(order: Sequence[tuple[int, int]], group: int) -> list[int]:
    """Return the axes of the result that come from `group`, in the order of the group's own axes."""
    places = [(inner, axis) for axis, (g, inner) in enumerate(order) if g == group]
    return [axis for _, axis in sorted(places)]


def _take(group: Group, picks: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
    """Return the base positions of `group` at `picks`, one array of positions an axis of the group."""
    if isinstance(group, Span):
        return (group.at(picks[0]),)
    return tuple(array[tuple(picks)] for array in group.arrays)


def _narrow(group: Group, key: list[Any]) -> Group:
    """Select independently along the axes of one group; `key` has been checked."""
    if isinstance(group, Span):
        (k,) = key
        if isinstance(k, slice):
            return Span(group.axis, group.indices[k])
        return Points((group.axis,), (np.asarray(group.at(np.asarray(k, np.int64))),))
    arrays = group.arrays
    for axis in reversed(range(len(key))):
        at = (slice(None),) * axis + (key[axis],)
        arrays = tuple(np.asarray(array[at]) for array in arrays)
    return Points(group.axes, arrays)


def _sorted(groups: list[Group], order: list[tuple[int, int]]) -> Selection:
    """Sort `groups` by their first axis and renumber `order`."""
    ranks = sorted(range(len(groups)), key=lambda g: min(groups[g].axes))
    place = {g: i for i, g in enumerate(ranks)}
    return Selection(tuple(groups[g] for g in ranks), tuple((place[g], axis) for g, axis in order))


def _checked(k: object, size: int, axis: int) -> Any:
    """Return `k` as an int >= 0, a slice, or a 1-d int64 array >= 0."""
    if isinstance(k, slice):
        return k
    if isinstance(k, np.ndarray) and k.ndim:
        if k.ndim > 1:
            raise IndexError(f"axis {axis} is indexed by an array of {k.ndim} axes, at most 1 is possible")
        return _wrapped(k, size, axis)
    return int(_wrapped(np.asarray(index(k)), size, axis))  # type: ignore[arg-type]


def _wrapped(positions: object, size: int, axis: int) -> NDArray[np.int64]:
    """Check `positions` against `size` and count negative ones from the end."""
    array = np.asarray(positions)
    if array.dtype.kind not in "iu" and array.size:
        raise IndexError(f"axis {axis} is indexed by {array.dtype}, integers are needed")
    array = array.astype(np.int64, copy=False)
    outside = (array < -size) | (array >= size)
    if outside.any():
        raise IndexError(f"index {array[outside].flat[0]} is out of bounds for axis {axis} with size {size}")
    return np.where(array < 0, array + size, array)
