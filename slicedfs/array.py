"""A lazy array over the tiles of one tile set: shape, dtype, selections, and the doors to its pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.layout.selection import Selection
from slicedfs.read import read_selection
from slicedfs.source import SourceRef, TileSource, reopen
from slicedfs.store import run, run_async

__all__ = ["SlicedArray"]


class SlicedArray:
    """Part of the array that a tile set forms; selecting from it is lazy, only :meth:`read` moves bytes.

    It is immutable, safe to use from threads, and pickles by reference: without tiles, pixels, or secrets beyond the
    storage_options given.
    """

    __slots__ = ("_ref", "_source", "dtype", "selection")

    def __init__(
        self, ref: SourceRef, selection: Selection, dtype: np.dtype[Any], source: TileSource | None = None
    ) -> None:
        self._ref, self.selection, self.dtype, self._source = ref, selection, dtype, source

    @classmethod
    def whole(cls, source: TileSource) -> "SlicedArray":
        """Return the whole array of `source`."""
        return cls(source.ref, Selection.whole(source.shape), source.dtype, source)

    def __reduce__(self) -> tuple[Any, ...]:
        return (SlicedArray, (self._ref, self.selection, self.dtype))

    def __repr__(self) -> str:
        return f"<SlicedArray {self.shape} {self.dtype}>"

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.selection.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.selection.ndim

    @property
    def token(self) -> tuple[Any, ...]:
        """A value that equal arrays share; no I/O."""
        groups = [
            (group.axes, getattr(group, "indices", None) or [a.tobytes() for a in getattr(group, "arrays", ())])
            for group in self.selection.groups
        ]
        return (self._ref.token, repr(groups), self.selection.order, self.shape)

    def outer(self, key: Sequence[Any]) -> "SlicedArray":
        """Select independently along each axis, see :meth:`slicedfs.layout.selection.Selection.outer`."""
        return self._selected(self.selection.outer(key))

    def points(self, key: Sequence[Any]) -> "SlicedArray":
        """Select jointly along several axes, see :meth:`slicedfs.layout.selection.Selection.points`."""
        return self._selected(self.selection.points(key))

    def transpose(self, order: Sequence[int]) -> "SlicedArray":
        """Reorder the axes."""
        return self._selected(self.selection.transpose(order))

    def read(self) -> NDArray[Any]:
        """Read the pixels; blocks. See :func:`slicedfs.read.read_selection` for what it raises."""
        return run(self._read)

    async def read_async(self) -> NDArray[Any]:
        """Read the pixels without blocking the event loop."""
        return await run_async(self._read)

    async def source(self) -> TileSource:
        """Return the opened source, opening it where this process has not yet; on the I/O loop only."""
        if self._source is None:
            self._source = await reopen(self._ref)
        return self._source

    async def _read(self) -> NDArray[Any]:
        return await read_selection(await self.source(), self.selection)

    def _selected(self, selection: Selection) -> "SlicedArray":
        return SlicedArray(self._ref, selection, self.dtype, self._source)
