"""How much may be under way at a time: requests per origin, bytes per process. Lives on the I/O loop only."""

import asyncio
import os
from collections import deque
from contextvars import ContextVar

__all__ = ["UNKNOWN_BYTES", "Budget", "Held", "bytes_budget", "slots"]

UNKNOWN_BYTES = 1 << 20
"""What a request of unknown size counts until its size is known."""


class Budget:
    """A count of units in use; who takes brings the bound, and waits in line while it is reached.

    One taker is always let through when nothing is in use, however much it takes. First come, first served:
    a small bound waits until the use has fallen below it, and those behind it wait too.
    """

    __slots__ = ("_line", "in_use", "peak")

    def __init__(self) -> None:
        self.in_use = 0
        self.peak = 0
        self._line: deque[tuple[asyncio.Future[None], int, int]] = deque()

    async def take(self, units: int, bound: int) -> None:
        """Take `units` once no more than `bound` are in use with them."""
        if not self._line and self._fits(units, bound):
            self.add(units)
            return
        turn = asyncio.get_running_loop().create_future()
        self._line.append((turn, units, bound))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._admit()
            else:  # the turn came in the same moment
                self.give(units)
            raise

    def add(self, units: int) -> None:
        """Count `units` (negative: fewer) without waiting."""
        self.in_use += units
        self.peak = max(self.peak, self.in_use)
        if units < 0:
            self._admit()

    def give(self, units: int) -> None:
        """Give `units` back and let the next in line."""
        self.in_use -= units
        self._admit()

    def _fits(self, units: int, bound: int) -> bool:
        return self.in_use == 0 or self.in_use + units <= bound

    def _admit(self) -> None:
        while self._line:
            turn, units, bound = self._line[0]
            if turn.cancelled():
                self._line.popleft()
            elif self._fits(units, bound):
                self._line.popleft()
                self.add(units)
                turn.set_result(None)
            else:
                return


class Held:
    """Bytes of one request, counted as in flight from :meth:`take` to :meth:`give`.

    A task that holds bytes already does not wait for more: it would wait for itself. So `consume` may read again.
    """

    __slots__ = ("_budget", "_token", "_units")
    _in_task: ContextVar[bool] = ContextVar("slicedfs_holds_bytes", default=False)

    def __init__(self, budget: Budget, units: int) -> None:
        self._budget, self._units = budget, units
        self._token = self._in_task.set(True)

    @classmethod
    async def take(cls, units: int, bound: int) -> "Held":
        """Count `units`, once there is room below `bound`."""
        budget = _bytes
        if cls._in_task.get():
            budget.add(units)
        else:
            await budget.take(units, bound)
        return cls(budget, units)

    def resize(self, units: int) -> None:
        """Count `units` from now on: the size is known."""
        self._budget.add(units - self._units)
        self._units = units

    def give(self) -> None:
        """Count nothing any more."""
        self._in_task.reset(self._token)
        self._budget.give(self._units)


_slots: dict[tuple[str, int], Budget] = {}
_bytes = Budget()


def slots(origin: str, concurrency: int) -> Budget:
    """Return the process-wide count of requests to `origin` for stores with this `concurrency`.

    Stores that ask for the same number share it. A store that asks for another number has its own, so that
    "at most 4" means 4 whatever other stores do; the total is then the sum of the distinct numbers.
    """
    key = (origin, concurrency)
    budget = _slots.get(key)
    if budget is None:
        budget = _slots[key] = Budget()
    return budget


def bytes_budget() -> Budget:
    """Return the process-wide count of bytes asked for and not yet consumed."""
    return _bytes


def _forget() -> None:
    """Forget the parent's requests: they do not run in a forked child."""
    global _bytes  # noqa: PLW0603 - replaced once, in a child that has a single thread
    _bytes = Budget()
    _slots.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
