"""What is known about the speed of an origin: how long requests take, how many are worth sending, when one is stuck.

Pure: the store tells what it saw. Written for one thread, that of the I/O loop.
"""

from slicedfs.store.options import DEFAULT_CONCURRENCY, MOST_CONCURRENCY

__all__ = ["Pace"]

_SMALL_BYTES = 64 << 10
"""Replies up to this size take as long as the way there and back; larger ones tell the bandwidth."""
_GROWING_BYTES = 1 << 20
"""Only replies up to this size tell whether more requests at a time would help; larger ones share the line."""
_GUESS_S, _GUESS_BYTES_PER_S = 0.05, 50e6
_FLAT, _FLAT_S = 1.5, 0.002
_WEIGHT = 1 / 16
_WINDOW = 256
_HEDGE_S, _HEDGE_FACTOR = 1.0, 4.0
_HEDGES = 0.05


class Pace:
    """What was seen of one origin.

    The number of requests at a time starts at 64. While all of them are in use, each reply that took about as long as
    the fastest one (1.5 times, and 2 ms) adds one, up to 256: so it doubles in one round trip. A refusal for too many
    requests (429, 503) halves it, once a round trip; from there it grows by one a round.
    """

    __slots__ = ("_bytes_per_s", "_calm_at", "_deviation_s", "_fastest_quiet_s", "_fastest_s", "_hedges", "_latency_s",
                 "_mean_s", "_n", "_quiet", "_threshold", "limit")  # fmt: skip

    def __init__(self) -> None:
        self.limit: float = DEFAULT_CONCURRENCY
        self._threshold: float = MOST_CONCURRENCY
        self._calm_at = float("-inf")
        self._n = self._hedges = 0
        self._quiet = 0
        self._fastest_s = self._fastest_quiet_s = float("inf")
        self._latency_s = self._bytes_per_s = self._mean_s = self._deviation_s = 0.0

    @property
    def latency_s(self) -> float:
        """Seconds of a small request, there and back; a guess of 50 ms where none was seen."""
        return self._latency_s or _GUESS_S

    @property
    def bytes_per_s(self) -> float:
        """Bytes a second of one request; a guess of 50 MB/s where none was seen."""
        return self._bytes_per_s or _GUESS_BYTES_PER_S

    def seen(self, seconds: float, n_bytes: int, *, busy: bool) -> None:
        """Learn from a reply of `n_bytes` that took `seconds`; `busy`: as many requests as allowed were under way."""
        self._n += 1
        if n_bytes <= _SMALL_BYTES:
            self._latency_s = _mixed(self._latency_s, seconds)
        else:
            # On an uneven line a reply may come faster than the usual way there and back.
            on_the_line_s = max(seconds - self._latency_s, seconds / 4, 1e-6)
            self._bytes_per_s = _mixed(self._bytes_per_s, n_bytes / on_the_line_s)
        self._deviation_s = _mixed(self._deviation_s, abs(seconds - (self._mean_s or seconds)))
        self._mean_s = _mixed(self._mean_s, seconds)
        if n_bytes <= _GROWING_BYTES:
            self._grow(seconds, busy=busy)

    def throttled(self, began: float, now: float) -> None:
        """Learn that the server had too many requests; `began`: when the refused one was sent."""
        if began < self._calm_at:  # sent before the last halving took effect
            return
        self._calm_at = now
        self.limit = self._threshold = max(1.0, self.limit / 2)

    def hedge_after_s(self, n_bytes: int) -> float:
        """Return the seconds after which a request for `n_bytes` is taken to be stuck."""
        usual_s = self._mean_s + 2 * self._deviation_s + n_bytes / self.bytes_per_s
        return max(_HEDGE_S, _HEDGE_FACTOR * usual_s)

    def may_hedge(self) -> bool:
        """Take one of the hedges, which are at most one in twenty requests, and one; False where none is left."""
        if self._hedges > _HEDGES * self._n:
            return False
        self._hedges += 1
        return True

    def _grow(self, seconds: float, *, busy: bool) -> None:
        """Let one more request go where this one took no longer than others."""
        self._fastest_s = min(self._fastest_s, seconds)
        if not busy:
            self._learn_route(seconds)
        elif seconds <= _FLAT * self._fastest_s + _FLAT_S:
            step = 1.0 if self.limit < self._threshold else 1 / self.limit
            self.limit = min(float(MOST_CONCURRENCY), self.limit + step)

    def _learn_route(self, seconds: float) -> None:
        """Forget what was fast long ago, by replies that did not wait for each other: the route may be another one."""
        self._quiet += 1
        self._fastest_quiet_s = min(self._fastest_quiet_s, seconds)
        if self._quiet % _WINDOW == 0:
            self._fastest_s, self._fastest_quiet_s = self._fastest_quiet_s, float("inf")


def _mixed(before: float, value: float) -> float:
    return value if before == 0.0 else before + _WEIGHT * (value - before)
