"""Work of an event loop done by threads, at little cost for each piece.

``loop.run_in_executor`` wakes the loop through a socket once for each call. Here the threads take pieces from one
queue as long as there are any, and the loop is woken once for all pieces that are done by then.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, TypeVar

__all__ = ["Pump"]

T = TypeVar("T")


class Pump:
    """A queue of calls between one event loop and some threads of a pool.

    Parameters
    ----------
    pool
        Its threads do the work.
    threads
        How many of them at a time.
    loop
        The loop that :meth:`submit` is called on.
    """

    def __init__(self, pool: ThreadPoolExecutor, threads: int, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._pool, self._threads = pool, threads
        self._waiting: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()
        self._done: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        self._lock = Lock()  # of `_done`: the first piece that is put there wakes the loop
        self._working = 0

    def submit(self, function: Callable[[], T]) -> "asyncio.Future[T]":
        """Call `function` in a thread; a call that is cancelled before it began is left out."""
        future: asyncio.Future[T] = self.loop.create_future()
        self._waiting.append((future, function))
        if self._working < self._threads:
            self._working += 1
            self._pool.submit(self._work)
        return future

    def _work(self) -> None:
        """Take pieces until there are none; runs in a thread."""
        while True:
            try:
                future, function = self._waiting.popleft()
            except IndexError:
                self._tell(self._rest)
                return
            if future.cancelled():
                continue
            value: Any = None
            failure: BaseException | None = None
            try:
                value = function()
            except StopIteration as error:  # no future takes it
                failure = RuntimeError(f"a call in a thread raised {error!r}")
            except BaseException as error:  # noqa: BLE001 - travels to the caller
                failure = error
            with self._lock:
                self._done.append((future, value, failure))
                first = len(self._done) == 1
            del future, function, value, failure  # the next piece may take long: pixels must not be held meanwhile
            if first:
                self._tell(self._deliver)

    def _tell(self, callback: Callable[[], None]) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(callback)

    def _rest(self) -> None:
        """Count a thread that found nothing to do; runs on the loop, so that nothing is overlooked."""
        if self._waiting:
            self._pool.submit(self._work)
        else:
            self._working -= 1

    def _deliver(self) -> None:
        """Hand over what is done; runs on the loop."""
        with self._lock:
            done, self._done = self._done, []
        for future, value, error in done:
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
