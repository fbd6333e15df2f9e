"""Values that are made once: concurrent askers wait for the first, later ones get what it made."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Memo"]

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """A bounded memo for coroutines. Used on the I/O loop only, so it needs no locks between threads.

    Parameters
    ----------
    max_items
        Keep the values used last; None: all.
    """

    def __init__(self, max_items: int | None = None) -> None:
        self._max_items = max_items
        self._pid = os.getpid()
        self._done: OrderedDict[K, V] = OrderedDict()
        self._locks: dict[K, asyncio.Lock] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        """Return the value of `key`, made by `make` where there is none; what `make` raises is not kept."""
        self._check_process()
        if key not in self._done:
            lock = self._locks.setdefault(key, asyncio.Lock())
            async with lock:
                if key not in self._done:
                    self.put(key, await make())
            self._locks.pop(key, None)
        self._done.move_to_end(key)
        return self._done[key]

    def put(self, key: K, value: V) -> None:
        """Keep `value` as that of `key`."""
        self._done[key] = value
        if self._max_items is not None and len(self._done) > self._max_items:
            self._done.popitem(last=False)

    def _check_process(self) -> None:
        """Drop locks that a fork copied from another loop; values stay good."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._locks.clear()
