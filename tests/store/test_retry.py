"""Retry in virtual time: when, how often, how long."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.store.retry import Clock, GaveUpError, RetryRule, TryError, Verdict, retried


@dataclass
class Time:
    """A clock whose seconds pass by sleeping only, and whose chance is a fixed share."""

    share: float = 1.0
    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep, lambda low, high: low + (high - low) * self.share)


def judged(error: Exception) -> Verdict:
    """Judge TryErrors only."""
    if isinstance(error, TryError):
        return error.verdict
    raise error


def attempts(time: Time, verdicts: list[Verdict], each_s: float = 0.0) -> Callable[[], object]:
    """Return an attempt that fails with each verdict in turn, then gives "data"; it takes `each_s` seconds."""
    left = iter(verdicts)

    async def attempt() -> str:
        time.now += each_s
        verdict = next(left, None)
        if verdict is None:
            return "data"
        raise TryError(verdict)

    return attempt


AGAIN = Verdict("busy", again=True)


def test_first_success_is_returned_at_once() -> None:
    """A try that succeeds costs no wait."""
    time = Time()
    assert asyncio.run(retried(attempts(time, []), judged, RetryRule(5, 60.0), time.clock)) == "data"
    assert time.slept == []


def test_pauses_double_up_to_eight_seconds() -> None:
    """The longest pauses are 0.1 s, doubled each time, never over 8 s."""
    time = Time()
    assert asyncio.run(retried(attempts(time, [AGAIN] * 9), judged, RetryRule(10, 60.0), time.clock)) == "data"
    assert time.slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 8.0, 8.0]


def test_pauses_have_full_jitter() -> None:
    """The pause is drawn from 0 up to its cap."""
    time = Time(share=0.25)
    asyncio.run(retried(attempts(time, [AGAIN] * 3), judged, RetryRule(5, 60.0), time.clock))
    assert time.slept == [0.025, 0.05, 0.1]


def test_at_most_max_tries() -> None:
    """After max_tries failures the last verdict is reported with the number of tries."""
    time = Time()
    with pytest.raises(GaveUpError, match="busy") as caught:
        asyncio.run(retried(attempts(time, [AGAIN] * 9), judged, RetryRule(5, 60.0), time.clock))
    assert caught.value.tries == 5
    assert time.slept == [0.1, 0.2, 0.4, 0.8]


def test_no_try_begins_after_retry_s() -> None:
    """Tries of 25 s each: the third one begins within 60 s of the first, a fourth does not."""
    time = Time()
    with pytest.raises(GaveUpError, match="busy") as caught:
        asyncio.run(retried(attempts(time, [AGAIN] * 9, each_s=25.0), judged, RetryRule(5, 60.0), time.clock))
    assert caught.value.tries == 3


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 0.1), (1.0, 1.0), (30.0, 30.0), (3600.0, 30.0)])
def test_retry_after_is_honoured(asked: float, waited: float) -> None:
    """A Retry-After is waited for, up to 30 s, and never shortens the pause."""
    time = Time()
    verdict = AGAIN._replace(wait_s=asked)
    asyncio.run(retried(attempts(time, [verdict]), judged, RetryRule(5, 60.0), time.clock))
    assert time.slept == [waited]


def test_final_verdicts_are_not_retried() -> None:
    """A verdict without `again` ends it at the first try."""
    time = Time()
    with pytest.raises(GaveUpError, match="gone") as caught:
        asyncio.run(retried(attempts(time, [Verdict("gone")]), judged, RetryRule(5, 60.0), time.clock))
    assert (caught.value.tries, time.slept) == (1, [])


def test_what_the_judge_raises_goes_through() -> None:
    """Errors that are no failures of a try are not caught."""

    async def attempt() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        asyncio.run(retried(attempt, judged, RetryRule(5, 60.0), Time().clock))


def test_cancellation_is_not_retried() -> None:
    """A cancelled try is not taken for a failed one."""
    tries = 0

    async def attempt() -> None:
        nonlocal tries
        tries += 1
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError, match=r"^$"):
        asyncio.run(retried(attempt, judged, RetryRule(5, 60.0), Time().clock))
    assert tries == 1


@given(
    st.lists(st.tuples(st.booleans(), st.none() | st.floats(0, 1e4)), max_size=12),
    st.integers(1, 8),
    st.floats(0.1, 100),
    st.floats(0, 1),
    st.floats(0, 30),
)
def test_bounds_hold_whatever_happens(
    failures: list[tuple[bool, float | None]], max_tries: int, retry_s: float, share: float, each_s: float
) -> None:
    """Never more than max_tries tries; no try begins later than retry_s after the first one ended its clock."""
    time = Time(share)
    begun: list[float] = []
    inner = attempts(time, [Verdict("x", again=again, wait_s=wait) for again, wait in failures], each_s)

    async def attempt() -> object:
        begun.append(time.now)
        return await inner()

    with suppress(GaveUpError):
        assert asyncio.run(retried(attempt, judged, RetryRule(max_tries, retry_s), time.clock)) == "data"
    assert 1 <= len(begun) <= max_tries
    assert begun[-1] <= retry_s or len(begun) == 1
