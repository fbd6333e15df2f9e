"""Slots: places for requests to one origin; and what a server sees of them."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap

import pytest
from faultserver import DATA, Exchange, FaultServer

from slicedfs.ranges import ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store import pace as paces
from slicedfs.store.slots import Slots, slots


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def takers(places: Slots, count: int):
    """Give `count` tasks that wait for a place; they are gone at the end."""
    tasks = [asyncio.create_task(places.take()) for _ in range(count)]
    await settle()
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_as_many_as_the_pace_allows() -> None:
    """64 get a place at once; the others wait."""
    places = Slots(None)
    async with takers(places, 100) as tasks:
        assert [task.done() for task in tasks] == [True] * 64 + [False] * 36
        assert (places.in_use, places.limit) == (64, 64)


async def test_first_come_first_served() -> None:
    """Places that are given back go to those who have waited longest."""
    places = Slots(2)
    async with takers(places, 5) as tasks:
        for done in ([True, True, False, False, False], [True, True, True, False, False], [True] * 4 + [False]):
            assert [task.done() for task in tasks] == done
            places.give()
            await settle()
        assert all(task.done() for task in tasks)


async def test_nobody_overtakes_the_line() -> None:
    """One who comes when a place is free for somebody in line has to wait behind them."""
    places = Slots(1)
    await places.take()
    async with takers(places, 1) as tasks:
        places.give()  # the place is the waiting one's from here on, though its task has not run yet
        late = asyncio.create_task(places.take())
        await settle()
        assert (tasks[0].done(), late.done(), places.in_use) == (True, False, 1)
        late.cancel()
        await settle()


async def test_a_reply_lets_the_next_in() -> None:
    """A reply that raises the limit admits one more at once, before any place is given back."""
    places = Slots(None)
    async with takers(places, 70) as tasks:
        places.seen(0.05, 1000)
        await settle()
        assert (places.limit, places.in_use, sum(task.done() for task in tasks)) == (65, 65, 65)


async def test_a_halved_limit_admits_nobody_until_it_is_kept() -> None:
    """After a refusal, places given back are not passed on until fewer than half are in use."""
    places = Slots(None)
    async with takers(places, 100) as tasks:
        places.pace.throttled(began=0.0, now=1.0)
        for _ in range(32):
            places.give()
        await settle()
        assert (places.in_use, sum(task.done() for task in tasks)) == (32, 64)
        places.give()
        await settle()
        assert (places.in_use, sum(task.done() for task in tasks)) == (32, 65)


async def test_a_number_of_the_user_is_fixed() -> None:
    """A number that was asked for stays, whatever replies and refusals tell."""
    places = Slots(7)
    async with takers(places, 20) as tasks:
        for _ in range(1000):
            places.seen(0.05, 1000)
        places.pace.throttled(began=0.0, now=1.0)
        await settle()
        assert (places.limit, places.in_use, sum(task.done() for task in tasks)) == (7, 7, 7)


async def test_cancelled_waiters_take_no_place() -> None:
    """Those who stopped waiting are passed over."""
    places = Slots(1)
    await places.take()
    async with takers(places, 3) as tasks:
        tasks[0].cancel()
        tasks[1].cancel()
        await settle()
        places.give()
        await settle()
        assert tasks[2].done()
        assert not tasks[2].cancelled()
        assert places.in_use == 1


async def test_cancelled_together_with_its_turn() -> None:
    """One that is cancelled in the moment of its turn hands the place on."""
    places = Slots(1)
    await places.take()
    async with takers(places, 2) as tasks:
        places.give()
        tasks[0].cancel()
        await settle()
        assert tasks[0].cancelled()
        assert tasks[1].done()
        assert places.in_use == 1


async def test_all_cancelled() -> None:
    """When everybody in line has given up, the next one to come gets its place."""
    places = Slots(1)
    await places.take()
    async with takers(places, 3) as tasks:
        for task in tasks:
            task.cancel()
        await settle()
        late = asyncio.create_task(places.take())
        await settle()
        assert not late.done()
        places.give()
        await settle()
        assert (late.done(), places.in_use) == (True, 1)


async def test_no_place_is_lost() -> None:
    """After a thousand takers, each third cancelled at some point, nothing is in use, and the limit was kept."""
    places, most = Slots(5), 0

    async def use(i: int) -> None:
        nonlocal most
        await places.take()
        try:
            most = max(most, places.in_use)
            for _ in range(i % 4):
                await asyncio.sleep(0)
        finally:
            places.give()

    tasks = [asyncio.create_task(use(i)) for i in range(1000)]
    for i, task in enumerate(tasks):
        if i % 3 == 0:
            asyncio.get_running_loop().call_soon(task.cancel)
        if i % 7 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (places.in_use, most) == (0, 5)
    await places.take()
    assert places.in_use == 1


async def test_simulated_reads_reach_256_and_no_more() -> None:
    """Of 2000 requests that take a constant time, 256 are under way in the end, never more."""
    places, seen = Slots(None), []

    async def request() -> None:
        await places.take()
        try:
            seen.append(places.in_use)
            for _ in range(20):
                await asyncio.sleep(0)
            places.seen(0.05, 1000)
        finally:
            places.give()

    await asyncio.gather(*(request() for _ in range(2000)))
    assert max(seen) == 256
    assert seen[:64] == list(range(1, 65))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_anew() -> None:
    """A child does not wait for requests of its parent: its places are free, and 64 again."""
    script = """
        import asyncio, os
        from slicedfs.store.slots import slots

        places = slots("https://h:443", 3)
        for _ in range(3):
            asyncio.run(places.take())
        if os.fork() == 0:
            anew = slots("https://h:443", 3)
            print(anew is places, anew.in_use, anew.limit, flush=True)
            os._exit(0)
        os.wait()
        print(slots("https://h:443", 3) is places, places.in_use, flush=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False 0 3\nTrue 3\n"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no request count as stuck, so that servers see each request once."""
    monkeypatch.setattr(paces, "_HEDGE_S", 1000.0)


def read_all(server: FaultServer, mode: str, count: int, **options: object) -> Slots:
    """Read the first bytes of `count` objects, check what came, and return the places of the server."""
    store = Store(StoreOptions(f"{server.url}/m.json", **options))  # type: ignore[arg-type]
    got: dict[int, bytes] = {}

    async def consume(key: int, reply: Reply) -> None:
        got[key] = bytes(reply.data)

    requests = ((i, Request(f"{server.url}/{mode}/{i}", ByteRange(0, 1000))) for i in range(count))
    run(store.fetch, requests, consume)
    assert got == dict.fromkeys(range(count), DATA[:1000])
    return slots(server.url, options.get("concurrency"))  # type: ignore[arg-type]


class Gate:
    """A mode that answers the 64th request, and all others once 65 wait at a time."""

    def __init__(self) -> None:
        self.arrived, self.more = 0, asyncio.Event()

    async def __call__(self, x: Exchange) -> None:
        self.arrived += 1
        if self.arrived != 64:
            if self.arrived == 66:
                self.more.set()
            await self.more.wait()
        await x.good()


def test_a_server_gets_more_than_64_at_a_time(patient: None) -> None:
    """By default a server that answers as fast as ever gets more than 64 requests at a time, and never over 256."""
    with FaultServer({"gate": Gate()}) as server:
        places = read_all(server, "gate", 700)
        assert len(server.seen) == 700
        assert 65 <= server.max_in_flight <= 256
        assert (places.in_use, places.limit > 64) == (0, True)


def test_a_server_gets_as_many_as_were_asked_for(patient: None) -> None:
    """With a number of the user, a server never gets more at a time."""
    with FaultServer(delay_s=0.005) as server:
        places = read_all(server, "good", 100, concurrency=9)
        assert (len(server.seen), server.max_in_flight, places.limit) == (100, 9, 9)


class Crowded:
    """A mode that refuses requests while 32 others are being answered; it answers none before it has refused one."""

    def __init__(self, status: int) -> None:
        self.status, self.there, self.refused, self.crowd = status, 0, 0, asyncio.Event()

    async def __call__(self, x: Exchange) -> None:
        if self.there == 32:
            self.refused += 1
            self.crowd.set()
            await x.reply(self.status, b"too many")
            return
        self.there += 1
        try:
            await self.crowd.wait()
            await asyncio.sleep(0.01)
            await x.good()
        finally:
            self.there -= 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_refuses_more_than_32(patient: None, status: int) -> None:
    """All objects come from a server that answers no more than 32 requests at a time, and it gets fewer then."""
    crowded = Crowded(status)
    with FaultServer({"crowded": crowded}) as server:
        places = read_all(server, "crowded", 300, max_tries=12)
        assert crowded.refused >= 1
        assert len(server.seen) == 300 + crowded.refused
        assert places.limit < 64
