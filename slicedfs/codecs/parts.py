"""Which bytes of a file hold a region, and how they become its pixels. Pure.

A codec gives a :class:`Cut`: pieces of the file, in any order, and a function from their bytes to pixels.
:func:`part_of` makes of it the ranges to ask for: sorted, disjoint, joined where they touch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from slicedfs.codecs.guard import damaged, translated
from slicedfs.codecs.tile import Array, Bytes
from slicedfs.errors import CodecError
from slicedfs.ranges import ByteRange

__all__ = ["Cut", "LayoutError", "Misplaced", "Part", "Window", "cut_run", "part_of"]


class LayoutError(CodecError):
    """The file is not laid out as a part of it assumed; its pixels can still be had from the whole file."""


class Misplaced(ValueError):  # noqa: N818 - it becomes LayoutError
    """Something of a file is not where it was expected."""


@dataclass(frozen=True, slots=True)
class Window:
    """A region in the axes of a file."""

    region: tuple[slice, ...]
    """First pixel and one past the last, of each axis of the file."""
    dims: tuple[str, ...]
    """What each axis is for the document: "z", "y", "x", "s"; "" for one of one element that it does not know."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The pieces of a file that hold a window."""

    starts: NDArray[np.int64]
    """First byte of each piece."""
    stops: NDArray[np.int64]
    """One past the last byte of each piece."""
    pixels: Callable[[Sequence[Bytes]], Array]
    """Gives the pixels, by the axes of the file, from the bytes of the pieces; any exception where they are damaged."""


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes of a file that hold a region of its pixels."""

    ranges: tuple[ByteRange, ...]
    """Sorted, disjoint, not empty; bytes that touch are one range."""
    _url: str = field(repr=False)
    _format: str = field(repr=False)
    _pixels: Callable[[Sequence[Bytes]], Array] = field(repr=False)

    def at(self, url: str) -> "Part":
        """Return the same part of another file of the same layout; `url` is for messages, redacted."""
        return Part(self.ranges, url, self._format, self._pixels)

    def pixels(self, blocks: Sequence[Bytes]) -> Array:
        """Return the pixels of the region.

        Parameters
        ----------
        blocks
            The bytes of each of `ranges`, as many as it asks for.

        Returns
        -------
        numpy.ndarray
            With the axes that were asked for, in native byte order; maybe read-only, and a view of a block.

        Raises
        ------
        LayoutError
            The file is not laid out as assumed: read it whole.
        CodecError
            A block is too short; its bytes are damaged.
        MissingExtraError
            They need a library that is not installed.
        """
        views = [memoryview(block).cast("B") for block in blocks]
        found, wanted = [len(view) for view in views], [range_.stop - range_.start for range_ in self.ranges]  # type: ignore[operator]
        if found != wanted:
            raise damaged(self._url, self._format, sum(found), f"its ranges {_text(self.ranges)} came as {found} bytes")
        with translated(self._url, self._format, sum(found)):
            try:
                return self._pixels(views)
            except Misplaced as error:
                raise LayoutError(f"{self._url}: {error}", url=self._url) from error


def _text(ranges: Sequence[ByteRange]) -> str:
    shown = ", ".join(f"{range_.start:,} to {range_.stop:,}" for range_ in ranges[:3])
    return shown + (", …" if len(ranges) > 3 else "")  # noqa: PLR2004


def part_of(cut: Cut, url: str, format_: str, fit: Callable[[Array], Array]) -> Part:
    """Return the part of a file that holds `cut`; `fit` gives its pixels the axes that are wanted."""
    if len(cut.starts) == 1:
        ranges: tuple[ByteRange, ...] = (ByteRange(int(cut.starts[0]), int(cut.stops[0])),)
        return Part(ranges, url, format_, lambda blocks: fit(cut.pixels(blocks)))
    ranges, blocks_of, offsets = _joined(cut.starts, cut.stops)
    lengths = (cut.stops - cut.starts).tolist()
    where = list(zip(blocks_of, offsets, lengths, strict=True))
    return Part(ranges, url, format_, lambda blocks: fit(cut.pixels([blocks[i][at : at + n] for i, at, n in where])))


def _joined(starts: NDArray[np.int64], stops: NDArray[np.int64]) -> tuple[tuple[ByteRange, ...], list[int], list[int]]:
    """Join pieces that touch or overlap; return the ranges, and for each piece its range and its place inside."""
    order = np.argsort(starts, kind="stable")
    sorted_starts, reach = starts[order], np.maximum.accumulate(stops[order])
    is_first = np.concatenate(([True], sorted_starts[1:] > reach[:-1]))
    firsts = np.flatnonzero(is_first)
    range_starts = sorted_starts[firsts]
    range_stops = reach[np.append(firsts[1:], len(starts)) - 1]
    which = np.empty(len(starts), np.int64)
    which[order] = np.cumsum(is_first) - 1
    ranges = tuple(map(ByteRange, range_starts.tolist(), range_stops.tolist()))
    return ranges, which.tolist(), (starts - range_starts[which]).tolist()


def cut_run(offset: int, shape: tuple[int, ...], dtype: np.dtype[np.generic], order: str, window: Window) -> Cut:
    """Cut a window out of an array that lies in one run of bytes.

    The two axes whose pixels lie closest (samples count with theirs) are never taken apart: of these, the bytes from
    the first to the last one needed are one piece, so that a few columns cost whole rows, and not a piece a row.

    Parameters
    ----------
    offset
        First byte of the array.
    shape, dtype, order
        Of the array, as stored; "C" or "F".
    window
        What is wanted of it.
    """
    axes = [axis for axis in range(len(shape)) if shape[axis] != 1]
    if order == "F":
        axes.reverse()
    strides = [0] * len(shape)
    step = dtype.itemsize
    for axis in reversed(axes):
        strides[axis] = step
        step *= shape[axis]
    region = window.region
    n_close = 3 if len(axes) > 2 and window.dims[axes[-1]] == "s" else 2  # noqa: PLR2004
    n_outer = max(0, len(axes) - n_close)
    while n_outer and all(region[axis].stop - region[axis].start == shape[axis] for axis in axes[n_outer:]):
        n_outer -= 1
    first = offset + sum([region[axis].start * strides[axis] for axis in axes])
    inner = axes[n_outer:]
    length = dtype.itemsize + sum([(region[axis].stop - region[axis].start - 1) * strides[axis] for axis in inner])
    sizes = [wanted.stop - wanted.start for wanted in region]
    starts = np.array(first, np.int64)
    for axis in axes[:n_outer]:
        starts = np.add.outer(starts, np.arange(sizes[axis]) * strides[axis])
    native = dtype.newbyteorder("=")

    def one(blocks: Sequence[Bytes]) -> Array:
        found = np.ndarray(sizes, dtype, blocks[0], 0, strides)
        return found if dtype.isnative else found.astype(native)

    def several(blocks: Sequence[Bytes]) -> Array:
        out = np.empty([sizes[axis] for axis in axes], native)
        inner_sizes, inner_strides = [sizes[axis] for axis in inner], [strides[axis] for axis in inner]
        for piece, block in zip(out.reshape(len(blocks), *inner_sizes), blocks, strict=True):
            piece[...] = np.ndarray(inner_sizes, dtype, block, 0, inner_strides)
        in_order = out if order == "C" else out.transpose()
        return in_order.reshape(sizes)

    starts = starts.reshape(-1)
    return Cut(starts, starts + length, several if prod(starts.shape) > 1 else one)
