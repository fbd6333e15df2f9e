"""What one GET costs, by transport: plain sockets, aiohttp, fsspec, s3fs, obstore and slicedfs' store.

    python benchmarks/transports.py [--sizes 64KiB 512KiB 8MiB] [--repeat 3] [--only store-http store-s3]

One process reads N objects at 64 connections from an nginx of this machine, whole objects of one size at a time. For S3
the same nginx stands in: the bucket is a directory, and nobody looks at the signatures. Printed are the median of the
seconds on the clock, the CPU seconds of this process (the server's are its own) and both against plain sockets.
What is not installed is left out, and says so. obstore and nginx are not needed to run slicedfs.
"""

import argparse
import asyncio
import itertools
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import Nginx, ServerMissingError  # the tests' servers

CONNECTIONS = 64
FILES = 32
"""Distinct objects; read in turn."""
BYTES = 1 << 30
MOST = 4096
"""Objects read are as many as make up BYTES, and at most this many."""
BUCKET = "bucket"
KEYS = {"key": "test-key", "secret": "test-secret"}
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}


class Work(NamedTuple):
    """What is read: `count` times one of the paths below `url`, in turn, each of `size` bytes."""

    url: str
    size: int
    count: int

    def paths(self) -> Iterator[str]:
        """Yield ``bucket/name`` of each object to read."""
        names = itertools.cycle([f"{BUCKET}/{self.size}-{i}.bin" for i in range(FILES)])
        return itertools.islice(names, self.count)


Reader = Callable[[Work], None]


def plain_sockets(work: Work) -> None:
    """Read over non-blocking sockets into one buffer for each connection: the ceiling."""
    host, port = work.url.removeprefix("http://").split(":")
    waiting, selector = work.paths(), selectors.DefaultSelector()
    for path in itertools.islice(waiting, CONNECTIONS):
        connection = socket.create_connection((host, int(port)))
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = memoryview(np.empty(work.size, np.uint8))
        selector.register(connection, selectors.EVENT_READ, [body, 0])
        _ask(connection, path)
    head = memoryview(bytearray(1 << 16))
    done = 0
    while done < work.count:
        for key, _ in selector.select():
            done += _receive(selector, key, head, waiting)


def _ask(connection: Any, path: str) -> None:
    connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def _receive(selector: Any, key: Any, head: memoryview, waiting: Iterator[str]) -> int:
    """Receive once; return 1 where the body is complete, and ask for the next."""
    connection, (body, filled) = key.fileobj, key.data
    if filled:
        filled += connection.recv_into(body[filled:])
    else:
        n = connection.recv_into(head)
        text = bytes(head[:n])
        end = text.index(b"\r\n\r\n") + 4
        filled = n - end
        body[:filled] = head[end:n]
    if filled < len(body):
        key.data[1] = filled
        return 0
    key.data[1] = 0
    path = next(waiting, None)
    if path is None:
        selector.unregister(connection)
        connection.close()
    else:
        _ask(connection, path)
    return 1


async def _workers(work: Work, read: Callable[[str], Any]) -> None:
    waiting = work.paths()

    async def worker() -> None:
        for path in waiting:
            data = await read(path)
            if len(data) != work.size:
                raise RuntimeError(f"{path} has {len(data)} bytes instead of {work.size}.")

    await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))


def bare_aiohttp(work: Work) -> None:
    """Read with a session of aiohttp."""
    import aiohttp

    async def run() -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def read(path: str) -> bytes:
                async with session.get(f"{work.url}/{path}") as response:
                    return await response.read()

            await _workers(work, read)

    asyncio.run(run())


def fsspec_http(work: Work) -> None:
    """Read with ``_cat_file`` of fsspec's HTTPFileSystem."""
    import fsspec

    filesystem = fsspec.filesystem("http", skip_instance_cache=True)

    async def read(path: str) -> bytes:
        return await filesystem._cat_file(f"{work.url}/{path}")

    fsspec.asyn.sync(fsspec.asyn.get_loop(), _workers, work, read)


def s3fs_cat(work: Work) -> None:
    """Read with ``_cat_file`` of s3fs, which asks for no size first where a range is given."""
    import fsspec

    config = {"max_pool_connections": CONNECTIONS}
    filesystem = fsspec.filesystem("s3", config_kwargs=config, skip_instance_cache=True, **_s3(work))

    async def read(path: str) -> bytes:
        return await filesystem._cat_file(path, start=0, end=work.size)

    fsspec.asyn.sync(fsspec.asyn.get_loop(), _workers, work, read)


def obstore_http(work: Work) -> None:
    """Read with obstore's get_range_async, over http."""
    from obstore.store import HTTPStore

    _obstore(work, HTTPStore.from_url(work.url, client_options={"allow_http": True}), "")


def obstore_s3(work: Work) -> None:
    """Read with obstore's get_range_async, over S3."""
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=work.url,
        access_key_id=KEYS["key"],
        secret_access_key=KEYS["secret"],
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    _obstore(work, store, f"{BUCKET}/")


def _obstore(work: Work, store: Any, prefix: str) -> None:
    import obstore

    async def read(path: str) -> Any:
        return await obstore.get_range_async(store, path.removeprefix(prefix), start=0, end=work.size)

    asyncio.run(_workers(work, read))


def store_http(work: Work) -> None:
    """Read with slicedfs' store, over http."""
    _store(work, work.url, {})


def store_aiohttp(work: Work) -> None:
    """Read with slicedfs' store, over http, on a session of the user's: the path for options the wire does not know."""
    _store(work, work.url, {"client_kwargs": {"trust_env": False}})


def store_s3(work: Work) -> None:
    """Read with slicedfs' store, over S3."""
    _store(work, "s3:/", _s3(work))


def store_s3fs(work: Work) -> None:
    """Read with slicedfs' store, over S3, with options that only s3fs itself knows."""
    _store(work, "s3:/", {**_s3(work), "requester_pays": True})


def _store(work: Work, base: str, options: dict[str, Any]) -> None:
    from slicedfs.store import Request, Store, StoreOptions, run

    store = Store(StoreOptions(f"{base}/{BUCKET}/m.json", options, concurrency=CONNECTIONS))

    async def consume(path: str, reply: Any) -> None:
        if len(reply.data) != work.size:
            raise RuntimeError(f"{path} has {len(reply.data)} bytes instead of {work.size}.")

    run(store.fetch, ((path, Request(f"{base}/{path}")) for path in work.paths()), consume)


def _s3(work: Work) -> dict[str, Any]:
    return {**KEYS, "endpoint_url": work.url, "client_kwargs": {"region_name": "us-east-1"}}


READERS: dict[str, Reader] = {
    "sockets": plain_sockets,
    "aiohttp": bare_aiohttp,
    "fsspec-http": fsspec_http,
    "obstore-http": obstore_http,
    "store-aiohttp": store_aiohttp,
    "store-http": store_http,
    "s3fs": s3fs_cat,
    "obstore-s3": obstore_s3,
    "store-s3fs": store_s3fs,
    "store-s3": store_s3,
}


def measured(reader: Reader, work: Work) -> tuple[float, float] | str:
    """Return (seconds, CPU seconds) of one run, or why there are none."""
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        reader(work)
    except ImportError as error:
        return f"not installed ({error.name})"
    return time.perf_counter() - wall, time.process_time() - cpu


def table(work: Work, names: list[str], repeat: int) -> list[str]:
    """Return the rows for one size; the readers take turns, so that noise meets all."""
    runs: dict[str, list[Any]] = {name: [] for name in names}
    for _ in range(repeat + 1):  # the first run opens caches and imports, and does not count
        for name in names:
            runs[name].append(measured(READERS[name], work))
    rows = [f"{'reader':14} {'wall s':>8} {'x':>5} {'CPU s':>8} {'x':>5} {'req/s':>8} {'us CPU/req':>11}"]
    base: tuple[float, float] | None = None
    for name, times in runs.items():
        if isinstance(times[-1], str):
            rows.append(f"{name:14} {times[-1]}")
            continue
        wall, cpu = (statistics.median(column) for column in zip(*times[1:], strict=True))
        base = base or (wall, cpu)
        per_s, per_request = work.count / wall, cpu / work.count * 1e6
        ratios = f"{wall:8.3f} {wall / base[0]:5.2f} {cpu:8.3f} {cpu / base[1]:5.2f}"
        rows.append(f"{name:14} {ratios} {per_s:8.0f} {per_request:11.0f}")
    return rows


def main() -> int:
    """Print the tables; exit code 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["64KiB", "512KiB", "8MiB"])
    parser.add_argument("--only", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="slicedfs-transports-") as name:
        folder = Path(name) / BUCKET
        folder.mkdir()
        try:
            with Nginx(Path(name)) as server:
                for text in given.sizes:
                    size = int(text[:-3]) * UNITS[text[-3:]]
                    for i in range(FILES):
                        (folder / f"{size}-{i}.bin").write_bytes(np.random.default_rng(i).bytes(size))
                    work = Work(server.url, size, min(MOST, BYTES // size))
                    print(f"{work.count} objects of {text}, {CONNECTIONS} connections, median of {given.repeat} runs")
                    print("\n".join(table(work, given.only, given.repeat)), "\n", flush=True)
        except ServerMissingError as error:
            print(error, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
