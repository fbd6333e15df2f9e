"""Pace: how many requests at a time, when one is stuck, how fast an origin is. Numbers in, numbers out."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.store.pace import Pace

SMALL = 1000


def rounds(pace: Pace, seconds: list[float], *, busy: bool = True) -> list[int]:
    """Let as many replies come as were allowed, for each of `seconds`; give the number allowed after each round."""
    allowed = []
    for each in seconds:
        for _ in range(int(pace.limit)):
            pace.seen(each, SMALL, busy=busy)
        allowed.append(int(pace.limit))
    return allowed


def test_starts_at_64() -> None:
    """Before anything was seen, 64 requests may be under way."""
    assert Pace().limit == 64


@pytest.mark.parametrize("seconds", [0.0001, 0.01, 0.05, 2.0])
def test_doubles_in_a_round_trip_up_to_256(seconds: float) -> None:
    """While replies take as long as ever, the number doubles once a round trip, and stops at 256."""
    assert rounds(Pace(), [seconds] * 4) == [128, 256, 256, 256]


def test_grows_by_one_a_reply() -> None:
    """Every reply that was no slower lets one more request go."""
    pace = Pace()
    allowed = []
    for _ in range(3):
        pace.seen(0.05, SMALL, busy=True)
        allowed.append(pace.limit)
    assert allowed == [65, 66, 67]


def test_stays_where_more_are_not_wanted() -> None:
    """While fewer requests are under way than allowed, nothing is learned about more of them."""
    assert rounds(Pace(), [0.05] * 3, busy=False) == [64, 64, 64]


def test_stops_where_latency_grows() -> None:
    """Where twice as many requests take twice as long, no more are sent than that."""
    assert rounds(Pace(), [0.05, 0.1, 0.1]) == [128, 128, 128]


def test_stops_for_good_where_latency_grows() -> None:
    """A server that answers 64 in 50 ms and is slower the more there are never gets 256, however long it lasts."""
    pace = Pace()
    for _ in range(100):
        rounds(pace, [max(0.05, int(pace.limit) / 64 * 0.05)])
    assert pace.limit <= 128


def test_growth_allows_for_noise() -> None:
    """Half as long again as the fastest reply, and 2 ms, is no slower; more than that is."""
    pace = Pace()
    pace.seen(0.1, SMALL, busy=True)
    pace.seen(0.152, SMALL, busy=True)
    assert pace.limit == 66
    pace.seen(0.153, SMALL, busy=True)
    assert pace.limit == 66


def test_large_replies_do_not_let_more_go() -> None:
    """Replies of more than 1 MiB share the line: they do not tell whether more requests would help."""
    pace = Pace()
    for _ in range(100):
        pace.seen(0.05, (1 << 20) + 1, busy=True)
    assert pace.limit == 64
    pace.seen(0.05, 1 << 20, busy=True)
    assert pace.limit == 65


def test_a_slower_route_is_learned() -> None:
    """When all replies take longer than before because the route changed, that counts as usual in the end."""
    pace = Pace()
    for _ in range(10):
        pace.seen(0.01, SMALL, busy=False)
    for _ in range(600):
        pace.seen(0.2, SMALL, busy=False)
    pace.seen(0.2, SMALL, busy=True)
    assert pace.limit == 65


def test_halves_once_a_round_trip() -> None:
    """All refusals of one round halve the number once; a refusal of a request sent later halves it again."""
    pace = Pace()
    for i in range(40):
        pace.throttled(began=1.0, now=1.05 + i / 1000)
    assert pace.limit == 32
    pace.throttled(began=1.04, now=1.2)  # sent before the first refusal came
    assert pace.limit == 32
    pace.throttled(began=1.06, now=1.3)
    assert pace.limit == 16


def test_never_below_one() -> None:
    """However often a server refuses, one request may go."""
    pace = Pace()
    for i in range(20):
        pace.throttled(began=2.0 * i, now=2.0 * i + 1)
    assert pace.limit == 1
    pace.seen(0.05, SMALL, busy=True)
    assert pace.limit == 2


def test_regrows_by_one_a_round() -> None:
    """After a refusal, a round of good replies lets one more go, not twice as many."""
    pace = Pace()
    pace.throttled(began=1.0, now=1.05)
    for _ in range(10):
        before = pace.limit
        rounds(pace, [0.05])
        assert 0.9 < pace.limit - before <= 1.0
    assert 41 < pace.limit <= 42


@given(st.lists(st.tuples(st.floats(1e-5, 100), st.integers(0, 1 << 30), st.booleans(), st.booleans()), max_size=400))
def test_always_within_bounds(events: list[tuple[float, int, bool, bool]]) -> None:
    """Whatever is seen, from 1 to 256 requests may go, and times and speeds are positive."""
    pace, now = Pace(), 0.0
    for seconds, n_bytes, busy, refused in events:
        now += seconds
        if refused:
            pace.throttled(now - seconds, now)
        else:
            pace.seen(seconds, n_bytes, busy=busy)
        assert 1 <= pace.limit <= 256
        assert pace.latency_s > 0
        assert pace.bytes_per_s > 0
        assert pace.hedge_after_s(n_bytes) >= 1.0


def test_guesses() -> None:
    """Before anything was seen: 50 ms, and 50 MB/s."""
    assert (Pace().latency_s, Pace().bytes_per_s) == (0.05, 50e6)


def test_latency_and_bandwidth() -> None:
    """Small replies tell the latency; large ones, less that, the bandwidth."""
    pace = Pace()
    pace.seen(0.02, SMALL, busy=False)
    pace.seen(0.12, 10_000_000, busy=False)
    assert (pace.latency_s, pace.bytes_per_s) == (0.02, pytest.approx(1e8))


def test_bandwidth_of_a_line_that_is_not_steady() -> None:
    """A line of 50 MB/s whose round trips take 40 to 60 ms is known as one of about that bandwidth."""
    pace = Pace()
    for i in range(200):
        jitter_s = 0.01 * math.sin(i * 2.4)
        pace.seen(0.05 + jitter_s, SMALL, busy=False)
        pace.seen(0.05 - jitter_s + 200_000 / 50e6, 200_000, busy=False)
    assert 10e6 < pace.bytes_per_s < 250e6


def test_recent_replies_count_more() -> None:
    """The latency follows what is seen now, and one odd reply moves it little."""
    pace = Pace()
    pace.seen(0.02, SMALL, busy=False)
    pace.seen(0.18, SMALL, busy=False)
    assert pace.latency_s == pytest.approx(0.03)
    for _ in range(200):
        pace.seen(0.18, SMALL, busy=False)
    assert pace.latency_s == pytest.approx(0.18, rel=1e-3)


def test_stuck_after_four_times_as_long_as_usual() -> None:
    """A request is taken to be stuck after a second at least, and after four times the usual where that is longer."""
    pace = Pace()
    assert pace.hedge_after_s(0) == 1.0
    for _ in range(500):
        pace.seen(0.5, SMALL, busy=False)
    assert pace.hedge_after_s(0) == pytest.approx(2.0)
    assert pace.hedge_after_s(50_000_000) == pytest.approx(6.0)  # and what its bytes take, at 50 MB/s


@pytest.mark.parametrize(("replies", "hedges"), [(0, 1), (19, 1), (20, 2), (100, 6), (1000, 51)])
def test_hedges_are_one_in_twenty_and_one(replies: int, hedges: int) -> None:
    """Second requests are at most 5 % of all, and one."""
    pace = Pace()
    for _ in range(replies):
        pace.seen(0.05, SMALL, busy=False)
    assert [pace.may_hedge() for _ in range(100)].count(True) == hedges
