"""Limits: requests per origin and bytes per process, first come first served."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from faultserver import Exchange, FaultServer
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.ranges import ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store.limits import Budget, Held, bytes_budget
from slicedfs.store.slots import slots
from slicedfs.testing import RecordingFileSystem
from slicedfs.url import canonical


@pytest.fixture
def fs() -> Iterator[RecordingFileSystem]:
    """Give an empty recording filesystem of its own."""
    filesystem = RecordingFileSystem(name=uuid4().hex)
    yield filesystem
    filesystem.reset()


def store_of(fs: RecordingFileSystem, bucket: str = "b", **options: object) -> Store:
    return Store(StoreOptions(f"recording://{bucket}/m.json", {"name": fs.name}, **options))  # type: ignore[arg-type]


async def ignore(key: object, reply: object) -> None:
    """Take the reply and forget it."""


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (5, 5), (200, 200)])
def test_requests_in_flight(fs: RecordingFileSystem, concurrency: int, most: int) -> None:
    """As many requests as allowed are under way at a time, and never more."""
    count = 3 * most
    fs.files.update({f"b{concurrency}/{i}": b"x" for i in range(count)})
    fs.delay_s = 0.15  # long enough for all that may begin to begin
    store = store_of(fs, f"b{concurrency}", concurrency=concurrency)
    run(store.fetch, ((i, Request(f"recording://b{concurrency}/{i}")) for i in range(count)), ignore)
    assert (len(fs.log), fs.max_in_flight) == (count, most)


def test_stores_share_the_limit_of_an_origin(fs: RecordingFileSystem) -> None:
    """Two stores of one process together send no more than the one number that both were given."""
    fs.files.update({f"shared/{i}": b"x" for i in range(100)})
    fs.delay_s = 0.005

    async def both() -> None:
        stores = [store_of(fs, "shared", concurrency=7) for _ in range(2)]
        requests = [((i, Request(f"recording://shared/{i}")) for i in range(100)) for _ in stores]
        await asyncio.gather(*(store.fetch(r, ignore) for store, r in zip(stores, requests, strict=True)))

    run(both)
    assert (len(fs.log), fs.max_in_flight) == (200, 7)


def test_another_number_has_its_own_count() -> None:
    """A store that asks for another number is not held up by the others, nor holds them up."""
    assert slots("https://h:443", 4) is slots("https://h:443", 4)
    assert slots("https://h:443", 4) is not slots("https://h:443", 64)
    assert slots("https://h:443", 4) is not slots("https://other:443", 4)


@pytest.mark.parametrize("byte_range", [ByteRange(0, 1000), ByteRange()], ids=["range", "whole"])
def test_bytes_in_flight(fs: RecordingFileSystem, byte_range: ByteRange) -> None:
    """Bytes asked for and not consumed stay within the bound; whole objects count as the one before them."""
    fs.files.update({f"b/{i}": bytes(1000) for i in range(50)})
    fs.delay_s = 0.002
    held = most = 0

    async def consume(key: object, reply: Reply) -> None:
        nonlocal held, most
        held += len(reply.data)
        most = max(most, held)
        await asyncio.sleep(0.002)  # a slow consumer: what it holds still counts
        held -= len(reply.data)

    store = store_of(fs, bytes_in_flight=4500)

    async def main() -> None:
        await store.read(Request("recording://b/0"))  # the size is known from here on
        fs.clear()
        await store.fetch(((i, Request(f"recording://b/{i}", byte_range)) for i in range(50)), consume)

    run(main)
    assert (len(fs.log), fs.max_in_flight, most) == (50, 4, 4000)
    assert bytes_budget().in_use == 0


def test_sizes_count_as_soon_as_they_are_known(fs: RecordingFileSystem) -> None:
    """Objects that turn out small make room for others while they are consumed."""
    fs.files.update({f"b/{i}": bytes(1000) for i in range(20)})
    fs.delay_s = 0.02  # all are in line before the first size is known
    held = 0

    async def main() -> None:
        all_there = asyncio.Event()

        async def consume(key: object, reply: Reply) -> None:
            nonlocal held
            held += 1
            if held == 20:
                all_there.set()
            async with asyncio.timeout(5):
                await all_there.wait()  # none is given back before all have come

        store = store_of(fs, bytes_in_flight=4 << 20)  # four of an unknown size, which counts 1 MiB
        await store.fetch(((i, Request(f"recording://b/{i}")) for i in range(20)), consume)

    run(main)
    assert (held, fs.max_in_flight) == (20, 4)


def test_a_request_larger_than_the_bound_goes_alone(fs: RecordingFileSystem) -> None:
    """One request over the bound is let through, with nothing beside it."""
    fs.files.update({f"b/{i}": bytes(1000) for i in range(5)})
    fs.delay_s = 0.002
    store = store_of(fs, bytes_in_flight=10)
    run(store.fetch, ((i, Request(f"recording://b/{i}", ByteRange(0, 1000))) for i in range(5)), ignore)
    assert (len(fs.log), fs.max_in_flight) == (5, 1)


def test_consume_may_read_again(fs: RecordingFileSystem) -> None:
    """A consumer that reads once more does not wait for the bytes that its own task holds."""
    fs.files["b/t"] = bytes(1000)
    store = store_of(fs, bytes_in_flight=1000, concurrency=1)
    again: list[int] = []

    async def consume(key: object, reply: object) -> None:
        again.append(len((await store.read(Request("recording://b/t"))).data))

    run(store.fetch, [(i, Request("recording://b/t", ByteRange(0, 1000))) for i in range(3)], consume)
    assert again == [1000] * 3
    assert bytes_budget().in_use == 0


def test_failed_and_cancelled_reads_give_everything_back(fs: RecordingFileSystem) -> None:
    """After errors and cancellation nothing counts as under way."""
    fs.files.update({f"gone/{i}": b"x" for i in range(20)})
    fs.delay_s = 0.01
    fs.fail("gone/3", ValueError("broken"))
    store = store_of(fs, "gone", concurrency=9)

    async def main() -> None:
        with pytest.raises(OSError, match="broken"):
            await store.fetch(((i, Request(f"recording://gone/{i}")) for i in range(20)), ignore)
        with pytest.raises(TimeoutError, match=r"^$"):
            async with asyncio.timeout(0.005):
                await store.fetch(((i, Request(f"recording://gone/{i}")) for i in range(20)), ignore)

    run(main)
    assert (slots("recording://gone", 9).in_use, bytes_budget().in_use, fs.in_flight) == (0, 0, 0)


class Taker(NamedTuple):
    """One who takes `units` below `bound`, then `more`, and may be cancelled at once."""

    units: int
    bound: int
    more: int
    leaves: bool


takers = st.lists(st.builds(Taker, *[st.integers(1, 12), st.integers(1, 10), st.integers(0, 12), st.booleans()]))


async def take_turns(takers: list[Taker]) -> tuple[Budget, list[int], list[tuple[int, int]]]:
    """Let takers queue up; return the order of their first turns, and (units, in use) after each of these."""
    budget, order, counts = Budget(), [], []

    async def take(i: int, taker: Taker) -> None:
        await budget.take(taker.units, taker.bound)
        order.append(i)
        counts.append((taker.units, budget.in_use))
        try:
            await asyncio.sleep(0)
            if taker.more:
                await budget.grow(taker.more, taker.bound)
                await asyncio.sleep(0)
                budget.shrink(taker.more)
        finally:
            budget.give(taker.units)

    tasks = [asyncio.create_task(take(i, taker)) for i, taker in enumerate(takers)]
    await asyncio.sleep(0)
    for task, taker in zip(tasks, takers, strict=True):
        if taker.leaves and not taker.more:  # one that leaves while it holds more would have to give that back
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return budget, order, counts


@given(takers)
def test_budget_is_first_come_first_served(takers: list[Taker]) -> None:
    """Whatever the bounds, whoever leaves or needs more: all others get their turn, in order; all is given back."""
    budget, order, _ = asyncio.run(take_turns(takers))
    assert order == sorted(order)
    assert set(range(len(takers))) - set(order) <= {i for i, taker in enumerate(takers) if taker.leaves}
    assert budget.in_use == 0


@given(takers, st.integers(1, 10))
def test_budget_keeps_the_bound(takers: list[Taker], bound: int) -> None:
    """With one bound for all, no more than it is in use at a time, but for a larger taker that is alone."""
    _, _, counts = asyncio.run(take_turns([taker._replace(bound=bound, more=0) for taker in takers]))
    assert [(units, in_use) for units, in_use in counts if in_use > bound and in_use != units] == []


def test_a_grower_that_is_cancelled_in_line() -> None:
    """One that is cancelled while it waits for more lets the next one through, and takes nothing along."""

    async def main() -> tuple[int, int]:
        budget = Budget()
        for _ in range(3):
            await budget.take(2, 10)
        await budget.grow(8, 10)
        waiting = [asyncio.create_task(budget.grow(more, 10)) for more in (9, 1)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        budget.shrink(8)
        await asyncio.gather(*waiting, return_exceptions=True)
        after = budget.in_use
        budget.shrink(1)
        return after, budget.in_use

    assert asyncio.run(main()) == (7, 6)


MIB = 1 << 20


def most_held(store: Store, urls: list[str]) -> int:
    """Fetch `urls` with a slow consumer; return the most bytes that it held at a time."""
    held = most = 0

    async def consume(key: object, reply: Reply) -> None:
        nonlocal held, most
        held += len(reply.data)
        most = max(most, held)
        await asyncio.sleep(0.02)
        held -= len(reply.data)

    run(store.fetch, enumerate(map(Request, urls)), consume)
    return most


def test_large_bodies_wait_at_a_server() -> None:
    """Objects that turn out to be larger than expected wait, unread, until there is room for them."""

    async def large(x: Exchange) -> None:
        await x.reply(200, bytes(3 * MIB))

    with FaultServer({"large": large}) as server:
        store = Store(StoreOptions(f"{server.url}/m.json", bytes_in_flight=8 * MIB))
        # Eight of an unknown size begin; one of 3 MiB does not fit beside them, and is the only one let through.
        assert most_held(store, [f"{server.url}/large/{i}" for i in range(20)]) <= 8 * MIB
        assert len(server.seen) == 20
    assert bytes_budget().in_use == 0


def test_large_files_wait(tmp_path: Path) -> None:
    """So do local files: their size is known before they are read."""
    for i in range(20):
        (tmp_path / f"{i}.bin").write_bytes(bytes(3 * MIB))
    store = Store(StoreOptions(canonical(tmp_path / "m.json"), bytes_in_flight=8 * MIB))
    assert most_held(store, [canonical(tmp_path / f"{i}.bin") for i in range(20)]) <= 8 * MIB
    assert bytes_budget().in_use == 0


def test_cancelled_while_a_thread_waits_for_room(tmp_path: Path) -> None:
    """A fetch that is cancelled while a file waits for room leaves nothing counted, and the next one reads."""
    for i in range(2):
        (tmp_path / f"{i}.bin").write_bytes(bytes(6 * MIB))
    store = Store(StoreOptions(canonical(tmp_path / "m.json"), bytes_in_flight=8 * MIB))
    requests = [(i, Request(canonical(tmp_path / f"{i}.bin"))) for i in range(2)]
    got: list[int] = []

    async def keep(key: int, reply: Reply) -> None:
        got.append(key)
        await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(store.fetch(requests, keep))
        while not got:  # noqa: ASYNC110 - the consumer has one of them, the other one waits
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert len(got) == 1
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.05)

    run(main)
    assert bytes_budget().in_use == 0
    assert most_held(store, [request.url for _, request in requests]) == 6 * MIB


def test_held_bytes_are_corrected() -> None:
    """When the size turns out, the count follows, and those who waited for it get in."""

    async def main() -> list[int]:
        before = bytes_budget().in_use
        held = await Held.take(100, 1000)
        counts = [bytes_budget().in_use - before]
        held.settle(30)
        counts.append(bytes_budget().in_use - before)
        held.give()
        return [*counts, bytes_budget().in_use - before]

    assert run(main) == [100, 30, 0]
