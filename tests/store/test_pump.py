"""Pump: calls of a loop that threads do; every one is done once, in line, and its end is told."""

import asyncio
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from slicedfs.store import in_thread, run
from slicedfs.store.door import DECODE_THREADS, io_loop
from slicedfs.store.pump import Pump


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Give a pool of ten threads, more than any pump here may use; all of them come to an end."""
    with ThreadPoolExecutor(10, thread_name_prefix="pumped") as threads:
        yield threads


@pytest.fixture
async def alone(pool: ThreadPoolExecutor) -> Pump:
    """Give a pump of one thread, for the loop of the test."""
    return Pump(pool, 1, asyncio.get_running_loop())


async def test_gives_what_the_call_gives(alone: Pump) -> None:
    """The result of a call, made in a thread of the pool, comes back."""
    assert await alone.submit(lambda: threading.current_thread().name.split("_")[0]) == "pumped"


async def test_one_thread_keeps_the_order(alone: Pump) -> None:
    """One thread does the calls in the order in which they were submitted."""
    done: list[int] = []
    await asyncio.gather(*(alone.submit(lambda i=i: done.append(i)) for i in range(500)))
    assert done == list(range(500))


async def test_results_are_not_mixed_up(pool: ThreadPoolExecutor) -> None:
    """Each caller gets the result of its own call, whichever thread was faster."""
    pump = Pump(pool, 4, asyncio.get_running_loop())
    assert await asyncio.gather(*(pump.submit(lambda i=i: i * i) for i in range(1000))) == [i * i for i in range(1000)]


@pytest.mark.parametrize("error", [ValueError("bad"), MemoryError("much"), KeyboardInterrupt("stop")], ids=repr)
async def test_exceptions_reach_their_caller(alone: Pump, error: BaseException) -> None:
    """What a call raises is raised for its caller alone, and the thread goes on."""

    def fail() -> None:
        raise error

    before, broken, after = (alone.submit(call) for call in (lambda: 1, fail, lambda: 2))
    with pytest.raises(type(error), match=rf"^{error}$") as caught:
        await broken
    assert caught.value is error
    assert (await before, await after) == (1, 2)


async def test_stop_iteration(alone: Pump) -> None:
    """A call that raises StopIteration, which no future can hold, ends with an error, and so do not those beside it."""
    hold = threading.Event()
    futures = [alone.submit(call) for call in (hold.wait, lambda: next(iter(())), lambda: 2)]
    hold.set()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # the failure of the callback
    done, _ = await asyncio.wait(futures, timeout=1)
    assert len(done) == 3
    assert isinstance(futures[1].exception(), Exception)
    assert futures[2].result() == 2


async def test_cancelled_before_it_began(alone: Pump) -> None:
    """A call that is cancelled while it waits is never made."""
    hold, made = threading.Event(), []
    first, second, third = alone.submit(hold.wait), *(alone.submit(lambda i=i: made.append(i)) for i in (2, 3))
    second.cancel()
    hold.set()
    await asyncio.gather(first, third)
    assert made == [3]
    assert second.cancelled()


async def test_cancelled_while_it_runs(alone: Pump) -> None:
    """A call that is cancelled while a thread makes it is made to its end, and its result is dropped."""
    begun, hold = threading.Event(), threading.Event()

    def call() -> str:
        begun.set()
        hold.wait(30)
        return "too late"

    future = alone.submit(call)
    assert await asyncio.to_thread(begun.wait, 30)
    future.cancel()
    hold.set()
    assert await alone.submit(lambda: "next") == "next"
    assert future.cancelled()


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_threads_than_asked_for(pool: ThreadPoolExecutor, limit: int) -> None:
    """As many calls as there may be threads are made at a time, and never more."""
    pump = Pump(pool, limit, asyncio.get_running_loop())
    together, lock, there, most = threading.Barrier(limit), threading.Lock(), 0, 0

    def call() -> None:
        nonlocal there, most
        with lock:
            there += 1
            most = max(most, there)
        together.wait(30)  # none ends before as many as allowed are there
        with lock:
            there -= 1

    for _ in range(20):  # the threads have come to rest in between, and begin again
        await asyncio.gather(*(pump.submit(call) for _ in range(3 * limit)))
    assert most == limit


async def test_twenty_thousand_calls(pool: ThreadPoolExecutor) -> None:
    """Of 20,000 tiny calls none is lost or made twice, with callers that come and go at all times."""
    pump = Pump(pool, 4, asyncio.get_running_loop())
    made = [0] * 20_000

    def call(i: int) -> int:
        made[i] += 1
        return i

    async def caller(number: int) -> None:
        for i in range(number * 400, (number + 1) * 400):
            assert await pump.submit(lambda i=i: call(i)) == i
            if i % 3 == number % 3:
                await asyncio.sleep(0)

    async with asyncio.timeout(120):
        await asyncio.gather(*(caller(number) for number in range(50)))
    assert made == [1] * 20_000


async def test_one_after_the_other(pool: ThreadPoolExecutor) -> None:
    """A call that is submitted just as the threads come to rest is made all the same: 2,000 times."""
    pump = Pump(pool, 2, asyncio.get_running_loop())
    async with asyncio.timeout(120):
        for i in range(2000):
            assert await pump.submit(lambda i=i: i) == i
            for _ in range(i % 4):
                await asyncio.sleep(0)


async def test_pixels_are_not_held(alone: Pump) -> None:
    """While a thread makes the next call, it holds neither the one before nor its result."""

    class Pixels:
        pass

    hold, born = threading.Event(), []

    def make() -> Pixels:
        pixels = Pixels()
        born.append(weakref.ref(pixels))
        return pixels

    first, second = alone.submit(make), alone.submit(lambda: hold.wait(30))
    try:
        assert isinstance(await first, Pixels)
        del first
        await asyncio.sleep(0)  # the step of the loop that brought it here held it too
        assert born[0]() is None
    finally:
        hold.set()
    assert await second


def test_in_thread_uses_no_more_than_the_decode_threads() -> None:
    """in_thread makes its calls in the decode pool, at most DECODE_THREADS at a time, from the I/O loop."""
    names: set[str] = set()

    async def many() -> list[int]:
        def call(i: int) -> int:
            names.add(threading.current_thread().name)
            return i

        assert asyncio.get_running_loop() is io_loop()
        return await asyncio.gather(*(in_thread(call, i) for i in range(300)))

    assert run(many) == list(range(300))
    assert {name.rpartition("_")[0] for name in names} == {"slicedfs-decode"}
    assert len(names) <= DECODE_THREADS
