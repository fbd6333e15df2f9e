"""The doors between callers and the I/O loop: plain calls, ``await``, and threads for blocking work.

All I/O runs on fsspec's own event loop, in its own thread, never on the caller's: sessions stay bound to one
loop for the life of the process, and a plain call works inside a running loop too (Jupyter).
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, TypeVarTuple, cast

from slicedfs.store.pump import Pump

__all__ = ["DECODE_THREADS", "IO_THREADS", "in_io_thread", "in_thread", "io_loop", "run", "run_async", "wait_on_loop"]

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

DECODE_THREADS = min(8, os.cpu_count() or 1)
"""Threads for decoding; more would only wait for the CPU."""
IO_THREADS = 32
"""Threads for filesystems that block."""
_GONE_S = 1.0
"""How long a cancelled call waits until its tasks are gone."""
_POLL_S = 1.0
"""Windows cannot interrupt an untimed wait, so Ctrl-C is looked for this often."""

_pools: dict[str, concurrent.futures.ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()
_decoding: Pump | None = None


def io_loop() -> asyncio.AbstractEventLoop:
    """Return fsspec's event loop; started on first use, and anew after fork."""
    from fsspec.asyn import get_loop

    return cast("asyncio.AbstractEventLoop", get_loop())


def run(function: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    """Run ``await function(*args)`` on the I/O loop and block until it is done.

    Works from any thread, one with a running loop (Jupyter) included. Whatever interrupts the wait (Ctrl-C)
    cancels the call, and returns only once its tasks are gone.

    Raises
    ------
    RuntimeError
        On the I/O loop's own thread, where waiting would never end.
    """
    loop = io_loop()
    if _running_loop() is loop:
        raise RuntimeError(
            "slicedfs cannot block here: this is the thread that does the I/O. "
            "Use `await ….load_async()` instead of `….load()`."
        )
    job = _Job(loop, lambda: function(*args))
    try:
        while not concurrent.futures.wait([job.future], timeout=_POLL_S).done:
            pass
    except BaseException:
        job.cancel()
        concurrent.futures.wait([job.future], timeout=_GONE_S)
        raise
    return job.future.result()


async def run_async(function: Callable[[*Ts], Coroutine[Any, Any, T]], *args: *Ts) -> T:
    """Await ``function(*args)`` on the I/O loop, from any loop, without blocking the caller's.

    Cancelling the caller cancels the call and waits shortly until its tasks are gone.
    """
    loop = io_loop()
    if asyncio.get_running_loop() is loop:
        return await function(*args)
    job = _Job(loop, lambda: function(*args))
    waiter = asyncio.wrap_future(job.future)
    try:
        return await asyncio.shield(waiter)
    except asyncio.CancelledError:
        job.cancel()
        await asyncio.wait([waiter], timeout=_GONE_S)
        if waiter.done() and not waiter.cancelled():
            waiter.exception()  # else asyncio logs "exception was never retrieved"
        raise


async def in_thread(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Await ``function(*args)`` in the decode pool (at most 8 threads); for CPU work that drops the GIL."""
    return await _pump().submit(lambda: function(*args))


async def in_io_thread(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Await ``function(*args)`` in the I/O pool (32 threads); for calls that block."""
    pool = _pool("slicedfs-io", IO_THREADS)
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: function(*args))


def wait_on_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Block a thread of the I/O pool until `coroutine` is done on the I/O loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, io_loop()).result()


class _Job(Generic[T]):
    """A coroutine on another thread's loop, whose future is done only when the task is gone.

    asyncio.run_coroutine_threadsafe reports "cancelled" before the task has stopped; a caller that must not
    leave requests behind cannot wait on that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.future.set_running_or_notify_cancel()  # nobody but the task may end it
        self._loop, self._function = loop, start
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Ask the task to stop; from any thread."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _start(self) -> None:
        try:
            self._task = self._loop.create_task(self._function())
        except BaseException as error:  # noqa: BLE001 - travels to the caller; the call itself failed
            self.future.set_exception(error)
            return
        self._task.add_done_callback(self._finish)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _finish(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.future.set_exception(asyncio.CancelledError())
            return
        error = task.exception()
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(task.result())
        self._task = None  # a traceback that holds the job must not hold the result


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _pump() -> Pump:
    """Return the queue of the decode pool, for the running loop."""
    global _decoding  # noqa: PLW0603 - made on first use, and anew for another loop
    loop = asyncio.get_running_loop()
    if _decoding is None or _decoding.loop is not loop:
        _decoding = Pump(_pool("slicedfs-decode", DECODE_THREADS), DECODE_THREADS, loop)
    return _decoding


def _pool(name: str, threads: int) -> concurrent.futures.ThreadPoolExecutor:
    pool = _pools.get(name)
    if pool is None:
        with _pools_lock:
            pool = _pools.get(name)
            if pool is None:
                pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix=name)
                _pools[name] = pool
    return pool


def _forget_pools() -> None:
    """Forget the parent's threads: none of them lives in a forked child."""
    global _pools_lock, _decoding
    _pools_lock, _decoding = threading.Lock(), None
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
