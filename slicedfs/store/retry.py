"""When a failed try is worth another: the only retry layer. Pure but for an injected clock."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

__all__ = ["CLOCK", "RETRY_STATUSES", "Clock", "GaveUpError", "RetryRule", "TryError", "Verdict", "retried"]

T = TypeVar("T")

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
"""HTTP statuses that mean "later, perhaps" (RFC 9110, section 15; RFC 8470; RFC 6585)."""
_FIRST_S, _LONGEST_S = 0.1, 8.0
_LONGEST_RETRY_AFTER_S = 30.0


class Verdict(NamedTuple):
    """What one failed try means."""

    text: str
    """What happened, for people; redacted."""
    again: bool = False
    """Another try may help."""
    missing: bool = False
    """The object does not exist."""
    status: int | None = None
    """HTTP status; None where there was none."""
    wait_s: float | None = None
    """Seconds that the server asks to wait (Retry-After); None where it does not."""
    denied: bool = False
    """Access was refused."""
    misused: bool = False
    """The filesystem does not take the options it was given."""


class TryError(Exception):
    """One try failed in a way that a reader recognised."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


class GaveUpError(Exception):
    """No further try: what the last one said, and how many there were."""

    def __init__(self, verdict: Verdict, tries: int, cause: Exception) -> None:
        super().__init__(verdict.text)
        self.verdict, self.tries, self.cause = verdict, tries, cause


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, so that tests can stand in for both."""

    now: Callable[[], float] = time.monotonic
    """Seconds, monotonic."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Wait that many seconds."""
    uniform: Callable[[float, float], float] = random.uniform
    """A random number between the two."""


CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often, and for how long."""

    max_tries: int
    """Tries in all, >= 1."""
    retry_s: float
    """Seconds after the first try in which another may start."""

    def pause_s(self, tries: int, verdict: Verdict, elapsed_s: float, clock: Clock) -> float | None:
        """Return the seconds to wait after `tries` failed tries; None: give up.

        Full jitter (uniform between 0 and the cap) spreads the tries of many clients; a Retry-After is a floor.
        """
        if not verdict.again or tries >= self.max_tries:
            return None
        pause = clock.uniform(0.0, min(_LONGEST_S, _FIRST_S * 2 ** (tries - 1)))
        if verdict.wait_s is not None:
            pause = max(pause, min(verdict.wait_s, _LONGEST_RETRY_AFTER_S))
        return pause if elapsed_s + pause <= self.retry_s else None


async def retried(
    attempt: Callable[[], Awaitable[T]],
    judge: Callable[[Exception], Verdict],
    rule: RetryRule,
    clock: Clock = CLOCK,
) -> T:
    """Await `attempt` until it succeeds or `rule` says enough.

    Raises
    ------
    GaveUpError
        Carrying `judge`'s verdict on the last failure. What `judge` raises goes through as it is.
    """
    started = clock.now()
    tries = 0
    while True:
        tries += 1
        try:
            return await attempt()
        except Exception as error:  # noqa: BLE001 - every kind is judged, and raised below or by the judge
            failure = error
        verdict = judge(failure)  # out here, so that what it raises does not carry the failure as its context
        pause = rule.pause_s(tries, verdict, clock.now() - started, clock)
        if pause is None:
            raise GaveUpError(verdict, tries, failure)
        await clock.sleep(pause)
