"""Which boxes of a tile are wanted, and the parts of its file that hold several of them. Pure.

One box around all that is wanted would read a whole tile for two rows at its edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs import codecs
from slicedfs.layout.grid import Index, Paste
from slicedfs.ranges import ByteRange
from slicedfs.read.extents import Extents, joined

__all__ = ["Box", "Pieces", "around", "boxes_of", "hull"]

Box = tuple[slice, ...]
"""One slice of step 1 an image axis, in pixels of the tile."""
_MOST_BOXES = 64
"""Rows that lie further scattered are read with what lies between them."""


def boxes_of(pastes: Sequence[Paste], row_bytes: int, gap_bytes: int) -> tuple[Box, ...]:
    """Return boxes that hold all that `pastes` want, apart from each other where that saves bytes.

    Parameters
    ----------
    pastes
        What is wanted of one tile.
    row_bytes
        Bytes of one row of the tile.
    gap_bytes
        Rows with no more than this between them are one box.
    """
    most_apart = 1 + gap_bytes // max(row_bytes, 1)
    boxes: list[Box] = []
    for paste in pastes:
        runs = [
            _runs(index, most_apart if axis == len(paste.src) - 2 else 1) for axis, index in enumerate(paste.src[:-1])
        ]
        columns = slice(*_bounds(paste.src[-1]))
        boxes += [(*box, columns) for box in product(*runs)]
        if len(boxes) > _MOST_BOXES:
            return (around(pastes),)
    return tuple(boxes)


def around(pastes: Sequence[Paste]) -> Box:
    """Return the smallest box around what `pastes` want."""
    if len(pastes) == 1:
        return tuple(slice(*_bounds(index)) for index in pastes[0].src)
    bounds = np.array([[_bounds(index) for index in paste.src] for paste in pastes])
    lows, highs = bounds[..., 0].min(axis=0), bounds[..., 1].max(axis=0)
    return tuple(slice(low, high) for low, high in zip(lows.tolist(), highs.tolist(), strict=True))


def hull(boxes: Sequence[Box]) -> Box:
    """Return the smallest box around `boxes`."""
    if len(boxes) == 1:
        return boxes[0]
    axes = map(list, zip(*boxes, strict=True))
    return tuple(slice(min(part.start for part in axis), max(part.stop for part in axis)) for axis in axes)


def _bounds(index: Index) -> tuple[int, int]:
    if isinstance(index, slice):
        return index.start, index.start + (index.stop - index.start - 1) // index.step * index.step + 1
    return int(index.min()), int(index.max()) + 1


def _runs(index: Index, most_apart: int) -> list[slice]:
    """Return the positions as runs; those at most `most_apart` from each other are one."""
    if isinstance(index, slice):
        if index.step <= most_apart or index.stop - index.start <= index.step:
            return [slice(*_bounds(index))]
        return [slice(at, at + 1) for at in range(index.start, index.stop, index.step)][: _MOST_BOXES + 1]
    positions = np.unique(index)
    ends = [-1, *np.flatnonzero(np.diff(positions) > most_apart).tolist(), len(positions) - 1]
    return [slice(int(positions[a + 1]), int(positions[b]) + 1) for a, b in pairwise(ends)][: _MOST_BOXES + 1]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Several parts of one file, to be used as one :class:`slicedfs.codecs.Part`."""

    ranges: tuple[ByteRange, ...]
    """Sorted, disjoint: all bytes of the parts."""
    _places: tuple[Box, ...]
    """Where each part lies in the box around them all."""
    _parts: tuple[codecs.Part, ...]
    _shape: tuple[int, ...]
    """Of the box around them all."""

    @classmethod
    def of(cls, boxes: Sequence[Box], parts: Sequence[codecs.Part]) -> "Pieces":
        """Put the `parts` that hold `boxes` together."""
        outer = hull(boxes)
        places = tuple(
            tuple(slice(part.start - of.start, part.stop - of.start) for part, of in zip(box, outer, strict=True))
            for box in boxes
        )
        ranges = tuple(joined(sorted(span for part in parts for span in part.ranges), 0))
        return cls(ranges, places, tuple(parts), tuple(part.stop - part.start for part in outer))

    def at(self, url: str) -> "Pieces":
        """Return the same parts of another file of the same layout; `url` is for messages, redacted."""
        return Pieces(self.ranges, self._places, tuple(part.at(url) for part in self._parts), self._shape)

    def pixels(self, blocks: Sequence[bytes | bytearray | memoryview]) -> NDArray[Any]:
        """Return the pixels of the box around all parts; what lies between them is left undefined.

        Raises
        ------
        CodecError, MissingExtraError
            As :meth:`slicedfs.codecs.Part.pixels`.
        """
        extents = Extents((span.start, block) for span, block in zip(self.ranges, blocks, strict=True))
        found = [part.pixels(extents.take_all(part.ranges)) for part in self._parts]
        out = np.empty(self._shape, found[0].dtype)
        for place, pixels in zip(self._places, found, strict=True):
            out[place] = pixels
        return out
