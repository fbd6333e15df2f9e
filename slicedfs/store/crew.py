"""Tasks that share some work, and may become more while they do it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["Crew"]


class Crew:
    """Tasks of which the first error ends all. Used by one task, on one loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def size(self) -> int:
        """How many are at work."""
        return len(self._tasks)

    def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Let one more task do `work`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def wait(self) -> None:
        """Wait until all have done their work; the first error cancels the others, and is raised once they are gone."""
        try:
            await self._end
        finally:
            while self._tasks:  # a task that ends may have added others
                left = list(self._tasks)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)
                self._tasks.difference_update(left)  # those that had ended need not have been seen to by _done yet

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            failure: BaseException | None = asyncio.CancelledError()
        else:
            failure = task.exception()
        if self._end.done():
            return
        if failure is not None:
            self._end.set_exception(failure)
        elif not self._tasks:
            self._end.set_result(None)
