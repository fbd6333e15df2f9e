"""The store: objects and byte ranges, with limits, retry and checks."""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from slicedfs import url as urls
from slicedfs.errors import MissingTileError, StoreError
from slicedfs.events import listened, watched
from slicedfs.ranges import ByteRange
from slicedfs.store.crew import Crew
from slicedfs.store.door import io_loop
from slicedfs.store.failures import status_of
from slicedfs.store.gather import gather
from slicedfs.store.hedge import hedged
from slicedfs.store.limits import UNKNOWN_BYTES, Held
from slicedfs.store.options import DEFAULT_CONCURRENCY, Ask, Reply, Request, StoreOptions
from slicedfs.store.origins import Origins
from slicedfs.store.readers import Reader
from slicedfs.store.retry import CLOCK, Clock, GaveUpError, TryError

__all__ = ["Store"]

K = TypeVar("K")
_TOO_MANY, _PAST_END = (429, 503), 416
_IN_LINE = 2
_NOTHING = Reply(b"", None, None)


class Store:
    """Reads objects through fsspec. Cheap to make; pickles as its options.

    Its coroutines run on the I/O loop only: enter by :func:`slicedfs.store.run` or
    :func:`slicedfs.store.run_async`. Filesystems are made on demand, and anew after fork.

    Parameters
    ----------
    options
        How to read.
    clock
        Time and chance of the retries, for tests.
    """

    def __init__(self, options: StoreOptions, clock: Clock = CLOCK) -> None:
        self.options = options
        self._clock = clock
        self._start()

    def __repr__(self) -> str:
        return f"Store({self.options!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Store, (self.options,))

    async def read(self, request: Request, *, max_bytes: int | None = None) -> Reply:
        """Read one object, or a range of it.

        Parameters
        ----------
        request
            What to read; an empty range costs no request.
        max_bytes
            Refuse whole objects that are larger (decoded); None: any size.

        Raises
        ------
        MissingTileError
            It does not exist, under any of the names that the URL may mean.
        StoreError
            It could not be read; attributes `status` and `tries` say more.
        UrlPolicyError
            The URL, or a redirect, leads where it may not lead.
        MissingExtraError
            The library for the protocol is not installed.
        """
        self._check_here()
        if _is_empty(request.byte_range):
            return _NOTHING
        reader = await self._origins.reader(request.url, request.source)
        held = await Held.take(_expected(request.byte_range, reader), self.options.bytes_in_flight)
        try:
            return await self._read(request, reader, max_bytes, held)
        finally:
            held.give()

    async def fetch(
        self,
        requests: Iterable[tuple[K, Request | list[Request]]],
        consume: Callable[[K, Any], Awaitable[None]],
    ) -> None:
        """Read `requests`, as they come, at most `concurrency` at a time, and hand each reply to `consume`.

        The iterable is pulled from as workers get free. Where it gives a list of requests, these are sent at once, and
        `consume` gets the list of their replies. A MissingTileError is handed to `consume`, which may raise it, and for
        lists the StoreError of a range past the end (status 416) too: who guessed the range may know better then. The
        first error stops everything, waits until it has stopped, and is raised alone. Bytes count as in flight until
        `consume` has returned.

        Raises
        ------
        Exception
            As :meth:`read`, and whatever `consume` or the iterable raise.
        """
        self._check_here()
        waiting = iter(requests)
        first = list(itertools.islice(waiting, self.options.concurrency or _IN_LINE * DEFAULT_CONCURRENCY))
        if len(first) == 1:
            await self._work(itertools.chain(first, waiting), consume, None)
        elif first:
            crew = Crew()
            for item in first:
                crew.add(self._work(itertools.chain([item], waiting), consume, crew))
            await crew.wait()

    async def _work(
        self,
        requests: Iterable[tuple[K, Request | list[Request]]],
        consume: Callable[[K, Any], Awaitable[None]],
        crew: Crew | None,
    ) -> None:
        """Do one request after the other; where the origin takes more at a time by now, let another do so too."""
        for key, request in requests:
            one = request[0] if isinstance(request, list) else request
            reader = await self._origins.reader(one.url, one.source)
            if crew is not None and crew.size < self._hands(reader):
                crew.add(self._work(requests, consume, crew))
            if isinstance(request, list):
                await self._consume_all(key, request, consume)
                continue
            if _is_empty(request.byte_range):
                await consume(key, _NOTHING)
                continue
            held = await Held.take(_expected(request.byte_range, reader), self.options.bytes_in_flight)
            try:
                await consume(key, await self._read_or_miss(request, reader, held))
            finally:
                held.give()

    def _hands(self, reader: Reader) -> int:
        """Return how many workers are of use: some in line for the next place show that more places would be."""
        if not reader.slots.adapts:
            return 0
        return min(_IN_LINE * reader.slots.limit, self.options.workers)

    async def _consume_all(self, key: K, requests: list[Request], consume: Callable[[K, Any], Awaitable[None]]) -> None:
        """Read several ranges at once, hand them over together, and count their bytes until then."""
        readers = [await self._origins.reader(request.url, request.source) for request in requests]
        size = sum(_expected(request.byte_range, reader) for request, reader in zip(requests, readers, strict=True))
        held = await Held.take(size, self.options.bytes_in_flight)
        try:
            try:
                # They are counted already, so none of them counts itself: `settle` of a share would be wrong.
                reading = [
                    self._read(request, reader, None, None) for request, reader in zip(requests, readers, strict=True)
                ]
                replies: Any = [await reading[0]] if len(reading) == 1 else await gather(reading)
            except StoreError as error:
                if not isinstance(error, MissingTileError) and error.status != _PAST_END:
                    raise
                replies = error
            await consume(key, replies)
        finally:
            held.give()

    async def _read_or_miss(self, request: Request, reader: Reader, held: Held) -> Reply | MissingTileError:
        try:
            return await self._read(request, reader, None, held)
        except MissingTileError as error:
            return error

    async def _read(self, request: Request, reader: Reader, limit: int | None, held: Held | None) -> Reply:
        """Read by the names that the URL may mean."""
        keys = (request.url,) if reader.by_url else urls.key_candidates(request.url)
        ask = Ask(request.byte_range, request.source, limit, None if held is None else held.grow)
        one = _One(request, reader, ask)
        reply = await (self._by_name(one, keys[0]) if len(keys) == 1 else self._by_names(one, keys))
        if isinstance(reply, GaveUpError):
            raise self._origins.error(reply, request)
        if held is not None:
            held.settle(len(reply.data))
        if request.byte_range.is_whole:
            reader.typical_bytes = len(reply.data)
        return reply

    async def _by_names(self, one: "_One", keys: tuple[str, ...]) -> Reply | GaveUpError:
        """Try the names in turn; while no name is known to be right, one request at a time finds out."""
        if one.reader.is_settled():
            return await self._in_turn(one, keys)
        async with one.reader.finding:
            if not one.reader.is_settled():  # the one before may have found out
                try:
                    return await self._in_turn(one, keys)
                finally:
                    one.reader.settle()
        return await self._in_turn(one, keys)

    async def _in_turn(self, one: "_One", keys: tuple[str, ...]) -> Reply | GaveUpError:
        """Try the name that was right last, then the others; where all are missing, report the first."""
        failures: dict[int, GaveUpError] = {}
        for form in sorted(range(len(keys)), key=lambda form: form != one.reader.form):
            reply = await self._by_name(one, keys[form])
            if isinstance(reply, Reply):
                one.reader.form = form
                return reply
            if not reply.verdict.missing:
                return reply
            failures[form] = reply
        return failures[0]

    async def _by_name(self, one: "_One", key: str) -> Reply | GaveUpError:
        async def send() -> Reply:
            reading = one.reader.read(key, one.ask)
            return await (watched(reading, one.request.url, one.ask.want) if listened() else reading)

        return await self._origins.tried(lambda: _attempt(one.reader, one.ask.want, send), one.reader.max_tries)

    def reader(self, request: Request) -> Reader | None:
        """Return what is known of the origin of `request`; None before the first request to it."""
        self._check_here()
        return self._origins.known(request.url, request.source)

    def _check_here(self) -> None:
        if asyncio.get_running_loop() is not io_loop():
            raise RuntimeError("The store works on the I/O loop only; enter by slicedfs.store.run or run_async.")
        if self._pid != os.getpid():  # filesystems of another process are bound to its threads and sockets
            self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._origins = Origins(self.options, self._clock)


class _One(NamedTuple):
    """One request under way."""

    request: Request
    reader: Reader
    ask: Ask


async def _attempt(reader: Reader, want: ByteRange, send: Callable[[], Awaitable[Reply]]) -> Reply:
    """Wait for a place, try once, and learn from how it went."""
    slots, now = reader.slots, asyncio.get_running_loop().time
    await slots.take()
    began = now()
    try:
        # A number that the user fixed is not exceeded by second requests.
        hedges = reader.hedges and slots.adapts
        reply = await (hedged(send, slots.pace, _expected(want, reader)) if hedges else send())
        slots.seen(now() - began, len(reply.data))
    except Exception as error:
        status = error.verdict.status if isinstance(error, TryError) else status_of(error)[0]
        if status in _TOO_MANY:
            slots.pace.throttled(began, now())
        raise
    else:
        return reply
    finally:
        slots.give()


def _is_empty(want: ByteRange) -> bool:
    """Say whether the range has no bytes; negative bounds are refused (servers read them as "the last n")."""
    if want.start < 0 or (want.stop is not None and want.stop < 0):
        raise ValueError(f"byte_range must not be negative, got {want}.")
    return want.stop is not None and want.stop <= want.start


def _expected(want: ByteRange, reader: Reader) -> int:
    if want.stop is not None:
        return want.stop - want.start
    return UNKNOWN_BYTES if reader.typical_bytes is None else reader.typical_bytes
