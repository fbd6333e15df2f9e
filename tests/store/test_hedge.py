"""A stuck request: a second one beside it, the first answer counts, the loser is cancelled."""

import asyncio
import contextlib
import threading

import pytest
from faultserver import DATA, Exchange, FaultServer

from slicedfs.errors import StoreError
from slicedfs.ranges import ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store import pace as paces
from slicedfs.store.hedge import hedged
from slicedfs.store.pace import Pace


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests count as stuck after 10 ms and what is usual."""
    monkeypatch.setattr(paces, "_HEDGE_S", 0.01)
    monkeypatch.setattr(paces, "_HEDGE_FACTOR", 0.0)


class Tries:
    """A request whose tries are futures, to be ended by the test, in the order in which they began."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[str]] = []
        self.begun = asyncio.Condition()
        self.cancelled: list[int] = []

    async def __call__(self) -> str:
        number = len(self.futures)
        self.futures.append(asyncio.get_running_loop().create_future())
        async with self.begun:
            self.begun.notify_all()
        try:
            return await self.futures[number]
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise

    async def begin(self, count: int) -> None:
        """Wait until `count` tries have begun."""
        async with asyncio.timeout(30), self.begun:
            await self.begun.wait_for(lambda: len(self.futures) == count)


async def settle() -> None:
    """Let every task that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def race(tries: Tries, pace: Pace | None = None):
    """Give a task that awaits `tries`, two of which have begun; nothing of it is left at the end."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(hedged(tries, pace or Pace(), 0))
    await tries.begin(2)
    yield task
    await settle()
    assert task.done()
    assert asyncio.all_tasks() == before


async def test_an_answer_in_time_needs_no_second_request() -> None:
    """Where the answer comes in time, there is one request, and no timer is left."""
    calls = 0

    async def attempt() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return "in time"

    assert await hedged(attempt, Pace(), 0) == "in time"
    await settle()
    assert calls == 1


async def test_the_second_answers(soon: None) -> None:
    """The second request's answer counts, and the first one is cancelled."""
    tries = Tries()
    async with race(tries) as task:
        tries.futures[1].set_result("second")
        assert await task == "second"
        assert tries.cancelled == [0]
        assert task.cancelling() == 0


async def test_the_first_answers_after_all(soon: None) -> None:
    """The first request's answer counts where it comes first, and the second one is cancelled."""
    tries = Tries()
    async with race(tries) as task:
        tries.futures[0].set_result("first")
        assert await task == "first"
        await settle()
        assert tries.cancelled == [1]


async def test_a_third_is_never_sent(soon: None) -> None:
    """Two requests at most are under way for one, however long they take."""
    tries = Tries()
    async with race(tries) as task:
        await asyncio.sleep(0.05)  # five times as long as makes a second one
        assert len(tries.futures) == 2
        tries.futures[0].set_result("first")
        assert await task == "first"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first-then-second", "second-then-first"])
async def test_both_answer_in_the_same_moment(soon: None, order: tuple[int, int]) -> None:
    """Where both answers come in one turn of the loop, one of them is returned, and the caller is not cancelled."""
    tries = Tries()
    async with race(tries) as task:
        for number in order:
            tries.futures[number].set_result("first" if number == 0 else "second")
        assert await task in ("first", "second")
        assert task.cancelling() == 0
    await asyncio.sleep(0)  # would raise where a cancellation were left over


async def test_the_second_fails(soon: None) -> None:
    """What goes wrong with the second request is forgotten: the first one's answer counts."""
    tries = Tries()
    async with race(tries) as task:
        tries.futures[1].set_exception(ConnectionResetError("second"))
        await settle()
        assert not task.done()
        tries.futures[0].set_result("first")
        assert await task == "first"


async def test_the_first_fails(soon: None) -> None:
    """What goes wrong with the first request is raised, and the second one is cancelled: there is a retry for that."""
    tries = Tries()
    async with race(tries) as task:
        tries.futures[0].set_exception(ConnectionResetError("first"))
        with pytest.raises(ConnectionResetError, match=r"^first$"):
            await task
        await settle()
        assert tries.cancelled == [1]


async def test_the_first_fails_as_the_second_answers(soon: None) -> None:
    """Where an answer is there in the moment of the failure, one of both comes out, and nothing is left over."""
    tries = Tries()
    async with race(tries) as task:
        tries.futures[1].set_result("second")
        tries.futures[0].set_exception(ConnectionResetError("first"))
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert result == "second" or isinstance(result, ConnectionResetError)
        assert task.cancelling() == 0


@pytest.mark.parametrize("answered", [False, True])
async def test_cancelled_from_outside(soon: None, answered: bool) -> None:
    """The caller's cancellation ends both requests, also in the moment of the second one's answer."""
    tries = Tries()
    async with race(tries) as task:
        if answered:
            tries.futures[1].set_result("second")
            await asyncio.sleep(0)  # the second one has it, and the first is being cancelled for it
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await task
        await settle()
        assert task.cancelled()
        assert tries.cancelled == ([0] if answered else [0, 1])


async def test_within_a_timeout(soon: None) -> None:
    """A timeout around it ends both requests, and is told from the end that the second one makes of the first."""
    tries = Tries()

    async def limited() -> str:
        async with asyncio.timeout(0.1):
            return await hedged(tries, Pace(), 0)

    task = asyncio.create_task(limited())
    await tries.begin(2)
    with pytest.raises(TimeoutError, match=r"^$"):
        await task
    await settle()
    assert sorted(tries.cancelled) == [0, 1]


async def test_a_timeout_inside_does_not_take_the_cancellation(soon: None) -> None:
    """Requests with a timeout of their own are ended all the same, and no TimeoutError comes out."""
    tries = Tries()

    async def attempt() -> str:
        async with asyncio.timeout(60):
            return await tries()

    task = asyncio.create_task(hedged(attempt, Pace(), 0))
    await tries.begin(2)
    tries.futures[1].set_result("second")
    assert await task == "second"
    assert task.cancelling() == 0


async def test_a_first_that_answers_although_cancelled(soon: None) -> None:
    """Where the first request takes its end for an answer, the caller does not count as cancelled afterwards."""
    tries = Tries()

    async def attempt() -> str:
        try:
            return await tries()
        except asyncio.CancelledError:
            return "made do"

    task = asyncio.create_task(hedged(attempt, Pace(), 0))
    await tries.begin(2)
    tries.futures[1].set_result("second")
    assert await task in ("made do", "second")
    assert task.cancelling() == 0


async def test_no_more_than_the_budget(soon: None) -> None:
    """Of many stuck requests, one in twenty and one get a second; the others wait."""
    pace, begun = Pace(), 0
    for _ in range(60):
        pace.seen(0.001, 1000, busy=False)
    free = asyncio.Event()

    async def attempt() -> str:
        nonlocal begun
        begun += 1
        await free.wait()
        return "answer"

    tasks = [asyncio.create_task(hedged(attempt, pace, 0)) for _ in range(200)]
    await asyncio.sleep(0.2)  # twenty times as long as makes a second one
    free.set()
    assert await asyncio.gather(*tasks) == ["answer"] * 200
    assert begun == 204


# at a server


class Never:
    """A mode that never answers the first request of one path, and tells when its reader hangs up."""

    def __init__(self, path: str) -> None:
        self.path, self.hung_up = path, threading.Event()

    async def __call__(self, x: Exchange) -> None:
        if not x.seen.path.endswith(self.path) or x.number > 1:
            await x.good()
            return
        with contextlib.suppress(OSError):  # a reset is a way to hang up too
            assert await x.writer._reader.read(1) == b""  # the reader has nothing more to ask here
        self.hung_up.set()
        x.close()


def read_200(server: FaultServer) -> dict[int, bytes]:
    """Read the first bytes of 200 objects."""
    got: dict[int, bytes] = {}

    async def consume(key: int, reply: Reply) -> None:
        got[key] = bytes(reply.data)

    store = Store(StoreOptions(f"{server.url}/m.json", stall_s=20.0))
    requests = ((i, Request(f"{server.url}/never/{i}", ByteRange(0, 1000))) for i in range(200))
    run(store.fetch, requests, consume)
    return got


def test_one_of_200_never_answers() -> None:
    """A read of 200 objects, one of which is never answered, ends with all bytes; the silent request is hung up."""
    never = Never("/77")
    with FaultServer({"never": never}) as server:
        assert read_200(server) == dict.fromkeys(range(200), DATA[:1000])
        assert server.counts["/never/77"] == 2
        assert len(server.seen) <= 200 + 200 * 0.05 + 1
        assert never.hung_up.wait(30)


def test_one_that_fails_is_retried_not_hedged() -> None:
    """An object that is refused gets its tries one after the other: a second request is for silence only."""
    with FaultServer() as server:
        store = Store(StoreOptions(f"{server.url}/m.json", max_tries=2))

        async def read() -> Reply:
            return await store.read(Request(f"{server.url}/404/x", ByteRange(0, 10)))

        with pytest.raises(StoreError, match=r"/404/x: there is no such file"):
            run(read)
        assert len(server.seen) == 1
