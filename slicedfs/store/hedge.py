"""One stuck request does not stall a read: a second one is sent beside it, and the first answer counts.

Dean and Barroso, "The Tail at Scale" (2013). Only for reads, which may be sent twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from slicedfs.store.pace import Pace

__all__ = ["hedged"]

T = TypeVar("T")


async def hedged(attempt: Callable[[], Awaitable[T]], pace: Pace, n_bytes: int) -> T:
    """Return what `attempt` gives, awaited a second time beside the first where that takes suspiciously long.

    Parameters
    ----------
    attempt
        Starts a request; called once or twice.
    pace
        Says how long is suspicious, and how many second requests there may be.
    n_bytes
        What is expected to come.

    Raises
    ------
    Exception
        What the first one raises. A second one that fails is forgotten.
    """
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("hedged needs to be awaited by a task")
    race = _Race(task, attempt, pace, n_bytes)
    race.wait()
    try:
        reply = await attempt()
        if race.won:  # it answered although it was cancelled
            task.uncancel()
        return reply  # noqa: TRY300 - an else would catch the cancellation that comes with it
    except BaseException:
        if race.won and task.uncancel() == 0:
            return race.take()
        raise
    finally:
        race.stop()


class _Race(Generic[T]):
    """The second request, and what it needs to end the first one: cancelling it, as asyncio.timeout does."""

    __slots__ = ("_attempt", "_n_bytes", "_pace", "_reply", "_rival", "_task", "_timer", "won")

    def __init__(
        self, task: asyncio.Task[object], attempt: Callable[[], Awaitable[T]], pace: Pace, n_bytes: int
    ) -> None:
        self._task, self._attempt, self._pace, self._n_bytes = task, attempt, pace, n_bytes
        self._rival: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reply: list[T] = []
        self.won = False

    def wait(self) -> None:
        """Look again once the first request takes suspiciously long."""
        self._timer = asyncio.get_running_loop().call_later(self._pace.hedge_after_s(self._n_bytes), self._start)

    def stop(self) -> None:
        """Forget the second request."""
        if self._timer is not None:
            self._timer.cancel()
        if self._rival is not None and not self._rival.done():
            self._rival.cancel()

    def take(self) -> T:
        """Return what the second request gave."""
        return self._reply.pop()

    def _start(self) -> None:
        """Send the second request, where there may be one more; else ask again later: others may be done by then."""
        if self._pace.may_hedge():
            self._rival = asyncio.get_running_loop().create_task(self._run())
        else:
            self.wait()

    async def _run(self) -> None:
        try:
            self._reply.append(await self._attempt())
        except Exception:  # noqa: BLE001 - the first one is still under way, and tells what is wrong if it fails too
            return
        self.won = True
        self._task.cancel()
