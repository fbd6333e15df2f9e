"""Tiles that several reads want: fetched once while under way, kept a while where another part is likely next.

Neighbouring chunks of dask cut through tiles. Where such a tile is a stream (PNG, JPEG), each of its chunks needs all
of it. So tiles that were read whole and wanted in part stay in memory, decoded, within a bound for the whole process;
small ones are as quickly fetched again.
Used on the I/O loop only.
"""

import asyncio
import itertools
import os
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

from slicedfs.source import TileSource

__all__ = ["Flights", "Key", "keep", "kept", "number_of"]

Key = tuple[int, int, tuple[tuple[int, int], ...]]
"""(number of the source, tile, bounds of the region, () for all of it)."""

_SMALL_BYTES = 256 << 10

_numbers = itertools.count()
_numbered: "WeakKeyDictionary[TileSource, int]" = WeakKeyDictionary()
_kept: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
_kept_bytes = 0


def number_of(source: TileSource) -> int:
    """Return a number that no other source of this process has, now or later."""
    number = _numbered.get(source)
    if number is None:
        number = _numbered[source] = next(_numbers)
    return number


def keep(source: TileSource, tile: int, pixels: NDArray[Any]) -> None:
    """Keep the pixels of a whole tile, and drop what was used longest ago where that is too much."""
    global _kept_bytes  # noqa: PLW0603 - the one place that counts
    most = source.session.options.memory_cache_bytes
    if not _SMALL_BYTES <= pixels.nbytes <= most:
        return
    key = (number_of(source), tile)
    before = _kept.pop(key, None)
    _kept_bytes += pixels.nbytes - (0 if before is None else before.nbytes)
    _kept[key] = pixels
    while _kept_bytes > most:
        _, dropped = _kept.popitem(last=False)
        _kept_bytes -= dropped.nbytes


def kept(source: TileSource, tile: int) -> NDArray[Any] | None:
    """Return the pixels of a whole tile that were kept; None where there are none."""
    if not _kept:
        return None
    key = (number_of(source), tile)
    pixels = _kept.get(key)
    if pixels is not None:
        _kept.move_to_end(key)
    return pixels


class Flights:
    """The tiles that are being read, so that a second read of one waits for the first."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._flying: dict[Key, asyncio.Future[NDArray[Any] | None]] = {}

    def join(self, key: Key) -> "asyncio.Future[NDArray[Any] | None] | None":
        """Return what another read of `key` will give; None where there is none, and the caller has to read.

        The future gives None where that read failed or was cancelled: then the caller reads.
        """
        if self._pid != os.getpid():  # those of the parent will never land here
            self._pid, self._flying = os.getpid(), {}
        return self._flying.get(key)

    def start(self, key: Key) -> None:
        """Tell that `key` is being read from now on; :meth:`land` must follow."""
        self._flying[key] = asyncio.get_running_loop().create_future()

    def land(self, key: Key, pixels: NDArray[Any] | None) -> None:
        """Give `pixels` to those who wait; None: it failed."""
        future = self._flying.pop(key, None)
        if future is not None and not future.done():
            future.set_result(pixels)
