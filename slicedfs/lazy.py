"""SlicedArray as the data of an xarray Variable.

xarray's documented recipe (LazilyIndexedArray around a BackendArray) returns wrong rows for out-of-range negative
positions, fails on empty reversed slices, turns a transposed crop into full gather arrays, and reads points as their
outer product. :class:`LazyPixels` composes selections itself instead; it builds on ``xarray.core.indexing``, which is
private. Where that should change, :class:`PixelsBackendArray` speaks the documented contract alone, and :func:`wrap`
falls back to it. The same tests run on both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from slicedfs.array import SlicedArray

__all__ = ["LazyPixels", "PixelsBackendArray", "unwrap", "wrap"]


class PixelsBackendArray(BackendArray):
    """The documented way: xarray hands over one key, pixels are read at once."""

    def __init__(self, pixels: SlicedArray) -> None:
        self.pixels = pixels
        self.shape, self.dtype = pixels.shape, pixels.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        return _indexed(self.pixels, key).read()

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> NDArray[Any]:
        """Read without blocking the event loop."""
        return await _indexed(self.pixels, key).read_async()


def _indexed(pixels: SlicedArray, key: indexing.ExplicitIndexer) -> SlicedArray:
    if isinstance(key, indexing.VectorizedIndexer):
        return pixels.points(key.tuple)
    return pixels.outer(key.tuple)


class LazyPixels(indexing.ExplicitlyIndexedNDArrayMixin):
    """A lazily composed array: selections and transposes stay lazy in any order, and are checked at once."""

    __slots__ = ("pixels",)

    def __init__(self, pixels: SlicedArray) -> None:
        self.pixels = pixels

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels."""
        return self.pixels.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> "LazyPixels":
        return LazyPixels(self.pixels.outer(key.tuple))

    def _oindex_get(self, indexer: indexing.OuterIndexer) -> "LazyPixels":
        return LazyPixels(self.pixels.outer(indexer.tuple))

    def _vindex_get(self, indexer: indexing.VectorizedIndexer) -> "LazyPixels":
        return LazyPixels(self.pixels.points(indexer.tuple))

    def transpose(self, order: Any) -> indexing.ExplicitlyIndexed:
        """Reorder the axes, lazily."""
        # xarray's wrappers hand back what this gives instead of wrapping it again, and assigning needs the wrapper.
        return indexing.CopyOnWriteArray(LazyPixels(self.pixels.transpose(order)))  # type: ignore[arg-type]  # too narrow

    def get_duck_array(self) -> NDArray[Any]:
        """Read the pixels; blocks."""
        return self.pixels.read()

    async def async_get_duck_array(self) -> NDArray[Any]:
        """Read the pixels without blocking the event loop."""
        return await self.pixels.read_async()

    def __deepcopy__(self, memo: object) -> "LazyPixels":
        return self  # immutable

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("slicedfs.LazyPixels", *self.pixels.token)

    def __repr__(self) -> str:
        return f"LazyPixels(shape={self.shape}, dtype={self.dtype})"


def wrap(pixels: SlicedArray) -> indexing.ExplicitlyIndexed:
    """Return `pixels` as data for an xarray Variable."""
    return LazyPixels(pixels)


def unwrap(data: object) -> SlicedArray | None:
    """Return the array inside a Variable's data as xarray wraps it; None where it holds something else."""
    while not isinstance(data, LazyPixels | SlicedArray):
        inner = getattr(data, "array", None)
        if inner is None or isinstance(data, np.ndarray):
            return None
        data = inner
    return data if isinstance(data, SlicedArray) else data.pixels
