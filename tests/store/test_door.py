"""The doors onto the I/O loop: from anywhere, with errors, cancellation and Ctrl-C as they should be."""

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faultserver import DATA, Exchange, FaultServer

from slicedfs.ranges import ByteRange
from slicedfs.store import Request, Store, StoreOptions, in_thread, run, run_async
from slicedfs.store.door import DECODE_THREADS, io_loop

TESTS = Path(__file__).parents[1]


async def add(a: int, b: int) -> int:
    """Add, on whatever loop."""
    await asyncio.sleep(0)
    return a + b


async def where() -> asyncio.AbstractEventLoop:
    """Return the loop that runs this."""
    return asyncio.get_running_loop()


async def fail() -> None:
    """Raise."""
    raise LookupError("as it was")


def test_run_from_a_plain_thread() -> None:
    """Without a loop, run gives the result, computed on fsspec's loop."""
    assert run(add, 1, 2) == 3
    assert run(where) is io_loop()


def test_run_inside_a_running_loop() -> None:
    """In Jupyter a loop runs in the caller's thread; run works there too."""

    async def cell() -> int:
        return run(add, 3, 4)

    assert asyncio.run(cell()) == 7


def test_run_async_twice_in_a_row() -> None:
    """Two loops after each other reach the same I/O loop: nothing is bound to the first one."""

    async def main() -> list[object]:
        return [await run_async(add, 5, 6), await run_async(where)]

    assert [asyncio.run(main()) for _ in range(2)] == [[11, io_loop()]] * 2


def test_run_async_on_the_io_loop() -> None:
    """On the I/O loop itself, run_async just awaits."""

    async def inside() -> int:
        return await run_async(add, 1, 1)

    assert run(inside) == 2


def test_run_on_the_io_loop_is_refused() -> None:
    """A blocking call on the I/O thread would wait for itself: it is refused with what to do."""

    async def inside() -> int:
        return run(add, 1, 1)

    with pytest.raises(RuntimeError, match=r"Use `await ….load_async\(\)` instead"):
        run(inside)


def test_errors_keep_their_type() -> None:
    """What the coroutine raises comes out of both doors as it is."""
    with pytest.raises(LookupError, match="as it was"):
        run(fail)
    with pytest.raises(LookupError, match="as it was"):
        asyncio.run(run_async(fail))


def test_errors_before_the_first_await() -> None:
    """A call with wrong arguments fails at the caller, not on the loop."""
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        run(add, 1)  # type: ignore[call-arg]


def test_timeout_error_of_the_coroutine_is_its_own() -> None:
    """A TimeoutError that the coroutine raises is not taken for one of the waiting."""

    async def late() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        run(late)


def test_sixteen_threads() -> None:
    """Sixteen threads at once get their own results."""
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda i: run(add, i, i), range(200))) == [2 * i for i in range(200)]


def test_run_async_does_not_block_the_loop() -> None:
    """While a read waits, the caller's loop runs other tasks."""
    go = threading.Event()

    async def wait_for_go() -> str:
        await asyncio.to_thread(go.wait)
        return "went"

    async def main() -> str:
        task = asyncio.create_task(run_async(wait_for_go))
        await asyncio.sleep(0)
        go.set()  # only reached while the task waits
        return await task

    assert asyncio.run(main()) == "went"


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_cancelling_the_caller_ends_the_coroutine(how: str) -> None:
    """After asyncio.timeout or cancel, the coroutine on the I/O loop has ended when control comes back."""
    ended = threading.Event()

    async def endless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async def main() -> bool:
        if how == "timeout":
            with pytest.raises(TimeoutError, match=r"^$"):
                async with asyncio.timeout(0.05):
                    await run_async(endless)
        else:
            task = asyncio.create_task(run_async(endless))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError, match=r"^$"):
                await task
        return ended.is_set()

    assert asyncio.run(main()) is True


def test_errors_of_a_cancelled_coroutine_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a coroutine raises while it is cancelled by the caller is nobody's, and makes no noise."""

    async def stubborn() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise LookupError("while cleaning up")

    async def main() -> None:
        task = asyncio.create_task(run_async(stubborn))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await task

    asyncio.run(main())
    gc.collect()
    assert caplog.records == []


def test_decode_pool_has_few_threads() -> None:
    """in_thread runs at most DECODE_THREADS calls at a time, off the I/O thread."""
    seen: set[int] = set()
    lock, now, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal now, most
        with lock:
            seen.add(threading.get_ident())
            now += 1
            most = max(most, now)
        time.sleep(0.002)
        with lock:
            now -= 1

    async def main() -> int:
        await asyncio.gather(*(in_thread(work, i) for i in range(64)))
        return threading.get_ident()

    assert run(main) not in seen
    assert 1 <= most <= DECODE_THREADS


def child(code: str, *args: str) -> subprocess.Popen[str]:
    """Start Python on `code`, which imports from tests/."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args], env=env, text=True, stdin=-1, stdout=-1, stderr=-1
    )


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_stops_the_requests() -> None:
    """After Ctrl-C the read raises KeyboardInterrupt, the server sees no new request, and the next read works."""
    code = """
    import sys
    from slicedfs.store import Request, Store, StoreOptions, run
    base = sys.argv[1]
    store = Store(StoreOptions(base + "/m.json", concurrency=4))

    async def consume(key, reply):
        if key == 20:
            print("reading", flush=True)

    try:
        run(store.fetch, ((i, Request(f"{base}/good/{i}")) for i in range(100000)), consume)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
        print(len(run(store.read, Request(base + "/good/after")).data), flush=True)
    """
    with FaultServer(delay_s=0.005) as server:
        process = child(code, server.url)
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        time.sleep(0.5)  # requests that were on the wire arrive; one that is sent later is an error
        seen = len(server.seen)
        time.sleep(0.5)
        out, err = process.communicate("go on\n", timeout=20)
    assert (out, err) == (f"{len(DATA)}\n", "")
    assert [request.path for request in server.seen[seen:]] == ["/good/after"]
    assert 20 <= seen < 1000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX fork")
def test_fork_child_reads() -> None:
    """A forked child reads with the parent's store: it makes its own loop, pools, filesystems and limits."""
    code = """
    import os, sys, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python >= 3.12 warns of fork beside threads
    from slicedfs.ranges import ByteRange
    from slicedfs.store import Request, Store, StoreOptions, in_thread, run
    base, path = sys.argv[1:]
    store, local = Store(StoreOptions(base + "/m.json")), Store(StoreOptions("file://" + path))
    request = Request(base + "/good/x", ByteRange(0, 5))
    before = run(store.read, request), run(local.read, Request("file://" + path)), run(in_thread, len, "abc")
    child = os.fork()
    if child == 0:
        after = run(store.read, request), run(local.read, Request("file://" + path)), run(in_thread, len, "abc")
        os._exit(0 if after == before else 1)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), run(store.read, request) == before[0])
    """
    with FaultServer() as server:
        process = child(code, server.url, __file__)
        out, err = process.communicate(timeout=30)
    assert (out, err) == ("0 True\n", "")
    assert len(server.seen) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX fork")
def test_fork_amid_a_request() -> None:
    """What the parent has under way at the moment of a fork does not count in the child."""
    code = """
    import os, sys, threading, time, warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    from slicedfs.store import Request, Store, StoreOptions, run
    base = sys.argv[1]
    store = Store(StoreOptions(base + "/m.json", concurrency=1, bytes_in_flight=10, retry_s=0.001, stall_s=5.0))
    thread = threading.Thread(target=lambda: run(store.read, Request(base + "/stall/x")), daemon=True)
    thread.start()
    print(sys.stdin.readline().strip(), flush=True)
    child = os.fork()
    if child == 0:
        data = run(store.read, Request(base + "/good/x")).data
        os._exit(0 if len(data) == 262144 else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)
    """
    began = threading.Event()

    async def stall(x: Exchange) -> None:
        began.set()
        await asyncio.sleep(3600)

    with FaultServer({"stall": stall}) as server:
        process = child(code, server.url)
        assert process.stdin is not None
        assert began.wait(20)
        out, err = process.communicate("go\n", timeout=20)
    assert (out, err) == ("go\n0\n", "")


def _read_in_child(store: Store, url: str) -> bytes:
    return bytes(run(store.read, Request(url, ByteRange(0, 5))).data)


def test_spawned_process_reads() -> None:
    """A store travels to a spawned process by pickle and reads there."""
    with FaultServer() as server, multiprocessing.get_context("spawn").Pool(1) as pool:
        store = Store(StoreOptions(f"{server.url}/m.json"))
        assert pool.apply(_read_in_child, (store, f"{server.url}/good/x")) == DATA[:5]
        pool.close()
        pool.join()


def test_store_outside_the_io_loop_is_refused() -> None:
    """The store's coroutines belong on the I/O loop: elsewhere the error says how to enter."""
    store = Store(StoreOptions("memory://m.json"))
    with pytest.raises(RuntimeError, match=r"enter by slicedfs.store.run or run_async"):
        asyncio.run(store.read(Request("memory://x")))
