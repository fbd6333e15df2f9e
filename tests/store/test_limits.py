"""Limits: requests per origin and bytes per process, first come first served."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.ranges import ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store.limits import Budget, Held, bytes_budget, slots
from slicedfs.testing import RecordingFileSystem


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


@pytest.mark.parametrize(("concurrency", "most"), [(None, 64), (1, 1), (5, 5), (200, 200)])
def test_requests_in_flight(fs: RecordingFileSystem, concurrency: int | None, most: int) -> None:
    """As many requests as allowed are under way at a time, and never more; None means 64."""
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


takers = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 10), st.booleans()), max_size=25)


async def take_turns(wanted: list[tuple[int, int, bool]]) -> tuple[Budget, list[int], list[tuple[int, int]]]:
    """Let takers of (units, bound, leaves early) queue up; return the order of turns, and (units, in use) of each."""
    budget, order, counts = Budget(), [], []

    async def taker(i: int, units: int, bound: int) -> None:
        await budget.take(units, bound)
        order.append(i)
        counts.append((units, budget.in_use))
        try:
            await asyncio.sleep(0)
        finally:
            budget.give(units)

    tasks = [asyncio.create_task(taker(i, units, bound)) for i, (units, bound, _) in enumerate(wanted)]
    await asyncio.sleep(0)
    for task, (_, _, leaves) in zip(tasks, wanted, strict=True):
        if leaves:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return budget, order, counts


@given(takers)
def test_budget_is_first_come_first_served(wanted: list[tuple[int, int, bool]]) -> None:
    """Whatever the bounds and whoever leaves: all others get their turn, in order, and all is given back."""
    budget, order, _ = asyncio.run(take_turns(wanted))
    assert order == sorted(order)
    assert set(range(len(wanted))) - set(order) <= {i for i, taken in enumerate(wanted) if taken[2]}
    assert budget.in_use == 0


@given(takers, st.integers(1, 10))
def test_budget_keeps_the_bound(wanted: list[tuple[int, int, bool]], bound: int) -> None:
    """With one bound for all, no more than it is in use at a time, but for a larger taker that is alone."""
    _, _, counts = asyncio.run(take_turns([(units, bound, leaves) for units, _, leaves in wanted]))
    assert [(units, in_use) for units, in_use in counts if in_use > bound and in_use != units] == []


def test_held_bytes_are_corrected() -> None:
    """When the size turns out, the count follows, and those who waited for it get in."""

    async def main() -> list[int]:
        before = bytes_budget().in_use
        held = await Held.take(100, 1000)
        counts = [bytes_budget().in_use - before]
        held.resize(30)
        counts.append(bytes_budget().in_use - before)
        held.give()
        return [*counts, bytes_budget().in_use - before]

    assert run(main) == [100, 30, 0]
