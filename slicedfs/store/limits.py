"""How many bytes may be under way at a time, in the whole process. Lives on the I/O loop only."""

import asyncio
import os
from collections import deque
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["UNKNOWN_BYTES", "Budget", "Held", "bytes_budget"]

UNKNOWN_BYTES = 1 << 20
"""What a request of unknown size counts until its size is known."""


class _Waiter(NamedTuple):
    turn: asyncio.Future[None]
    units: int
    bound: int


class Budget:
    """A count of units in use; who takes brings the bound, and waits in line while it is reached.

    One taker is always let through when nothing is in use, however much it takes. First come, first served:
    a small bound waits until the use has fallen below it, and those behind it wait too.
    """

    __slots__ = ("_growing", "_grown", "_line", "in_use")

    def __init__(self) -> None:
        self.in_use = 0
        self._grown = 0
        self._line: deque[_Waiter] = deque()
        self._growing: deque[_Waiter] = deque()

    async def take(self, units: int, bound: int) -> None:
        """Take `units` once no more than `bound` are in use with them."""
        if not self._line and not self._growing and self._fits(units, bound):
            self.in_use += units
        elif await self._cancelled_in(self._line, units, bound):
            self.give(units)
            raise asyncio.CancelledError

    def give(self, units: int) -> None:
        """Give `units` back (negative: count more, without waiting) and let the next in line."""
        self.in_use -= units
        self._admit()

    async def grow(self, units: int, bound: int) -> None:
        """Take `units` more, for one that holds some and needs more than it thought; undone by :meth:`shrink`.

        One at least may always grow, so that those who wait, holding what they have, get their turn in the end.
        New takers come after them.
        """
        if not self._growing and self._may_grow(units, bound):
            self.in_use += units
            self._grown += 1
        elif await self._cancelled_in(self._growing, units, bound):
            self.shrink(units)
            raise asyncio.CancelledError

    def shrink(self, units: int) -> None:
        """Give back what was taken by :meth:`grow`."""
        self._grown -= 1
        self.give(units)

    async def _cancelled_in(self, line: deque[_Waiter], units: int, bound: int) -> bool:
        """Wait in `line`; True where the turn and the cancellation came in the same moment."""
        waiter = _Waiter(asyncio.get_running_loop().create_future(), units, bound)
        line.append(waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if not waiter.turn.cancelled():
                return True
            self._admit()  # those behind may fit where this one did not
            raise
        return False

    def _fits(self, units: int, bound: int) -> bool:
        return self.in_use == 0 or self.in_use + units <= bound

    def _may_grow(self, units: int, bound: int) -> bool:
        return self._grown == 0 or self.in_use + units <= bound

    def _admit(self) -> None:
        while self._growing:
            turn, units, bound = self._growing[0]
            if not turn.cancelled():
                if not self._may_grow(units, bound):
                    return
                self.in_use += units
                self._grown += 1
                turn.set_result(None)
            self._growing.popleft()
        while self._line:
            turn, units, bound = self._line[0]
            if not turn.cancelled():
                if not self._fits(units, bound):
                    return
                self.in_use += units
                turn.set_result(None)
            self._line.popleft()


class Held:
    """Bytes of one request, counted as in flight from :meth:`take` to :meth:`give`.

    A task that holds bytes already does not wait for more: it would wait for itself. So `consume` may read again.
    """

    __slots__ = ("_bound", "_budget", "_given", "_grown", "_nested", "_token", "_units")
    _in_task: ContextVar[bool] = ContextVar("slicedfs_holds_bytes", default=False)

    def __init__(self, budget: Budget, units: int, bound: int) -> None:
        self._budget, self._units, self._bound = budget, units, bound
        self._grown = self._given = False
        self._nested = self._in_task.get()
        self._token = self._in_task.set(True)

    @classmethod
    async def take(cls, units: int, bound: int) -> "Held":
        """Count `units`, once there is room below `bound`."""
        budget = _bytes
        if cls._in_task.get():
            budget.give(-units)
        else:
            await budget.take(units, bound)
        return cls(budget, units, bound)

    async def grow(self, units: int) -> None:
        """Count `units` in all, once there is room: more is about to come than was expected."""
        more = units - self._units
        if more <= 0:
            return
        if self._nested or self._grown:
            self._budget.give(-more)
        else:
            await self._budget.grow(more, self._bound)
            if self._given:  # a thread asked, and the task that waits for it was cancelled meanwhile
                self._budget.shrink(more)
                raise asyncio.CancelledError
            self._grown = True
        self._units = units

    def settle(self, units: int) -> None:
        """Count `units` from now on: all has come."""
        self._budget.give(self._units - units)
        self._units = units

    def give(self) -> None:
        """Count nothing any more."""
        self._given = True
        if self._grown:
            self._budget.shrink(self._units)
        else:
            self._budget.give(self._units)
        self._in_task.reset(self._token)


_bytes = Budget()


def bytes_budget() -> Budget:
    """Return the process-wide count of bytes asked for and not yet consumed."""
    return _bytes


def _forget() -> None:
    """Forget the parent's requests: they do not run in a forked child."""
    global _bytes  # noqa: PLW0603 - replaced once, in a child that has a single thread
    _bytes = Budget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
