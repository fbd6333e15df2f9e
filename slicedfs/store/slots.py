"""How many requests may be under way to an origin at a time. Lives on the I/O loop only."""

import asyncio
import os
from collections import deque

from slicedfs.store.pace import Pace

__all__ = ["Slots", "slots"]


class Slots:
    """Places for requests to one origin, first come, first served.

    Parameters
    ----------
    fixed
        How many there are; None: as many as the pace of the origin allows, see :class:`slicedfs.store.pace.Pace`.
    """

    __slots__ = ("_fixed", "_line", "in_use", "pace")

    def __init__(self, fixed: int | None) -> None:
        self._fixed = fixed
        self._line: deque[asyncio.Future[None]] = deque()
        self.in_use = 0
        self.pace = Pace()

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return self._fixed or int(self.pace.limit)

    @property
    def adapts(self) -> bool:
        """Whether the number is not fixed."""
        return self._fixed is None

    async def take(self) -> None:
        """Wait for a place and take it."""
        if not self._line and self.in_use < self.limit:
            self.in_use += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn and the cancellation came in the same moment
                self.give()
            raise

    def give(self) -> None:
        """Give the place back and let the next in line."""
        self.in_use -= 1
        self._admit()

    def seen(self, seconds: float, n_bytes: int) -> None:
        """Learn from a reply; to be told before the place is given back."""
        self.pace.seen(seconds, n_bytes, busy=bool(self._line) or self.in_use >= self.limit)
        self._admit()

    def _admit(self) -> None:
        while self._line and self.in_use < self.limit:
            turn = self._line.popleft()
            if not turn.cancelled():
                self.in_use += 1
                turn.set_result(None)


_slots: dict[tuple[str, int | None], Slots] = {}


def slots(origin: str, concurrency: int | None) -> Slots:
    """Return the process-wide places for requests to `origin` of stores with this `concurrency`.

    Stores that ask for the same number share them. A store that asks for another number has its own, so that
    "at most 4" means 4 whatever other stores do; the total is then the sum of the distinct numbers.
    """
    key = (origin, concurrency)
    found = _slots.get(key)
    if found is None:
        found = _slots[key] = Slots(concurrency)
    return found


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_slots.clear)  # the parent's requests do not run in a forked child
