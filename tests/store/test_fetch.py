"""fetch: many requests, few tasks, the first error alone."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from slicedfs.errors import MissingTileError, StoreError
from slicedfs.ranges import ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.testing import RecordingFileSystem


@pytest.fixture
def fs() -> Iterator[RecordingFileSystem]:
    """Give a recording filesystem of its own with 200 objects, b/0 to b/199, of 10 bytes each."""
    filesystem = RecordingFileSystem(name=uuid4().hex)
    filesystem.files.update({f"b/{i}": b"%010d" % i for i in range(200)})
    yield filesystem
    filesystem.reset()


def store_of(fs: RecordingFileSystem, **options: object) -> Store:
    return Store(StoreOptions("recording://b/m.json", {"name": fs.name}, **options))  # type: ignore[arg-type]


def requests(numbers: Iterator[int] | range) -> Iterator[tuple[int, Request]]:
    return ((i, Request(f"recording://b/{i}")) for i in numbers)


class Consumer:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.got: dict[int, bytes | MissingTileError] = {}

    async def __call__(self, key: int, reply: Reply | MissingTileError) -> None:
        self.got[key] = reply.data if isinstance(reply, Reply) else reply


@pytest.mark.parametrize("count", [0, 1, 2, 64, 65, 200])
def test_every_request_once(fs: RecordingFileSystem, count: int) -> None:
    """Each reply reaches the consumer with its key, from exactly one request."""
    consumer = Consumer()
    run(store_of(fs).fetch, requests(range(count)), consumer)
    assert consumer.got == {i: b"%010d" % i for i in range(count)}
    assert sorted(fs.paths) == sorted(f"b/{i}" for i in range(count))


def test_empty_ranges_cost_nothing(fs: RecordingFileSystem) -> None:
    """An empty range is answered without a request, even for a file that is not there."""
    consumer = Consumer()
    run(store_of(fs).fetch, [(0, Request("recording://b/none", ByteRange(5, 5)))], consumer)
    assert (consumer.got, fs.log) == ({0: b""}, [])


def test_absent_files_reach_the_consumer(fs: RecordingFileSystem) -> None:
    """A missing file is handed over as the error, and the rest is read."""
    consumer = Consumer()
    run(store_of(fs).fetch, requests(range(198, 202)), consumer)
    assert [type(consumer.got[i]) for i in range(198, 202)] == [bytes, bytes, MissingTileError, MissingTileError]
    assert str(consumer.got[200]) == "recording://b/200: there is no such file (1 try)."
    assert len(fs.log) == 4


def test_consumer_may_raise_the_absence(fs: RecordingFileSystem) -> None:
    """When the consumer raises the MissingTileError, fetch ends with it."""

    async def strict(key: int, reply: Reply | MissingTileError) -> None:
        if isinstance(reply, MissingTileError):
            raise reply

    with pytest.raises(MissingTileError, match="recording://b/200: there is no such file"):
        run(store_of(fs).fetch, requests(range(198, 202)), strict)


def test_first_error_stops_everything(fs: RecordingFileSystem) -> None:
    """After the first error no request begins, none is left running, and the error comes alone."""
    fs.delay_s = 0.01
    fs.fail("b/5", ValueError("first"))
    asked_after: list[str] = []

    async def main() -> None:
        with pytest.raises(StoreError, match=r"recording://b/5: could not be read: ValueError: first \(1 try\)"):
            await store_of(fs, concurrency=8).fetch(requests(range(200)), Consumer())
        begun = len(fs.log)
        assert fs.in_flight == 0
        await asyncio.sleep(0.05)
        asked_after.extend(fs.paths[begun:])

    run(main)
    assert asked_after == []
    assert set(fs.paths) <= {f"b/{i}" for i in range(16)}  # one more round of 8 at the very most


def test_errors_of_the_consumer_and_of_the_iterable(fs: RecordingFileSystem) -> None:
    """What the consumer or the iterable raises stops everything too, and comes out as it is."""

    async def broken(key: int, reply: object) -> None:
        raise LookupError(f"consumer of {key}")

    def endless() -> Iterator[tuple[int, Request]]:
        yield from requests(range(100))
        raise LookupError("iterable")

    for concurrency in (1, 8):
        with pytest.raises(LookupError, match="consumer of 0"):
            run(store_of(fs, concurrency=concurrency).fetch, requests(range(50)), broken)
        with pytest.raises(LookupError, match="iterable"):
            run(store_of(fs, concurrency=concurrency).fetch, endless(), Consumer())


def test_requests_are_pulled_as_needed(fs: RecordingFileSystem) -> None:
    """The iterable is never more than `concurrency` requests ahead of the consumer."""
    pulled = consumed = 0
    ahead: list[int] = []

    def counted() -> Iterator[tuple[int, Request]]:
        nonlocal pulled
        for item in requests(range(200)):
            pulled += 1
            ahead.append(pulled - consumed)
            yield item

    async def consume(key: int, reply: object) -> None:
        nonlocal consumed
        consumed += 1

    run(store_of(fs, concurrency=6).fetch, counted(), consume)
    assert (pulled, consumed, max(ahead)) == (200, 200, 6)


def test_ten_thousand_requests_in_256_tasks(fs: RecordingFileSystem) -> None:
    """The number of tasks does not grow with the number of requests."""
    most = 0

    async def consume(key: int, reply: object) -> None:
        nonlocal most
        if key % 100 == 0:
            most = max(most, len(asyncio.all_tasks()))

    async def main() -> int:
        await asyncio.sleep(0)
        before = len(asyncio.all_tasks())
        await store_of(fs).fetch(((i, Request(f"recording://b/{i % 200}")) for i in range(10_000)), consume)
        return before

    before = run(main)
    assert len(fs.log) == 10_000
    assert before + 64 <= most <= before + 256


def test_cancelling_fetch_cancels_its_requests(fs: RecordingFileSystem) -> None:
    """Cancelled from outside, fetch leaves no request running and begins no other."""
    fs.delay_s = 0.02

    async def main() -> tuple[int, int, int]:
        task = asyncio.create_task(store_of(fs, concurrency=8).fetch(requests(range(200)), Consumer()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        begun = len(fs.log)
        await asyncio.sleep(0.05)
        return begun, len(fs.log), fs.in_flight

    begun, later, in_flight = run(main)
    assert 8 <= begun < 200
    assert (later, in_flight) == (begun, 0)
