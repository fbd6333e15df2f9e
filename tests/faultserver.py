"""An HTTP/1.1 server on raw sockets that misbehaves on order: 37 ways, as object stores, proxies and networks do.

``http://127.0.0.1:port/<mode>/<anything>`` serves :data:`DATA` in that mode; requests are counted per path, so that
"once" means the first request of that path. As endpoint of s3fs or gcsfs it serves too; the bucket is the mode.
Raw sockets, because no HTTP library breaks its own connections.
"""

import asyncio
import gzip
import hashlib
import struct
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

__all__ = ["DATA", "MODES", "OTHER", "FaultServer", "Seen"]

DATA = b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(8192))
"""262,144 bytes in which no 32 bytes come twice."""
OTHER = DATA[::-1]
"""What the object is replaced by."""
STORED_GZIP = gzip.compress(DATA, mtime=0)
HTML = b"<!DOCTYPE html><html><body>Please log in to the hotel network.</body></html>" * 5000
S3_ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>Sorry.</Message></Error>'

_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 416: "Range Not Satisfiable"}


class Seen(NamedTuple):
    """One request."""

    method: str
    path: str
    byte_range: tuple[int, int] | None  # half-open; None: no Range header
    headers: dict[str, str]  # names in lower case
    at: float


class Exchange:
    """One request and the connection to answer it on."""

    def __init__(self, seen: Seen, number: int, writer: asyncio.StreamWriter) -> None:
        self.seen, self.number, self.writer = seen, number, writer
        self.keep_open = True

    @property
    def span(self) -> tuple[int, int]:
        """Bytes asked for, clamped to the object."""
        start, stop = self.seen.byte_range or (0, len(DATA))
        return start, min(stop, len(DATA))

    async def head(self, status: int, length: int | None, **headers: str) -> None:
        """Send status line and headers; underscores in names are dashes."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Whatever')}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        await self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        await self.head(status, len(body), **headers)
        await self.send(b"" if self.seen.method == "HEAD" else body)

    async def good(self, data: bytes = DATA, *, cut: int | None = None, **headers: str) -> None:
        """Send what was asked for; `cut`: promise all, send that many bytes."""
        start, stop = self.span
        headers = {"ETag": f'"{data[:4].hex()}"'} | headers
        if self.seen.byte_range is None:
            await self.head(200, len(data), **headers)
        else:
            await self.head(206, stop - start, Content_Range=f"bytes {start}-{stop - 1}/{len(data)}", **headers)
        await self.send(data[start:stop][:cut])

    def close(self) -> None:
        """End the connection properly (FIN) after this exchange."""
        self.keep_open = False

    def reset(self) -> None:
        """End the connection with a reset (RST)."""
        self.keep_open = False
        socket = self.writer.get_extra_info("socket")
        socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER: on, 0 s


Mode = Callable[[Exchange], Awaitable[None]]


def _first(times: int, fault: Mode) -> Mode:
    """Return a mode that behaves as `fault` on the first `times` requests of a path."""

    async def mode(x: Exchange) -> None:
        await (fault(x) if x.number <= times else x.good())

    return mode


def _status(status: int, body: bytes = b"no", **headers: str) -> Mode:
    async def mode(x: Exchange) -> None:
        await x.reply(status, body, **headers)

    return mode


async def _good(x: Exchange) -> None:
    await x.good()


async def _reset_at_once(x: Exchange) -> None:
    x.reset()


async def _close_at_once(x: Exchange) -> None:
    x.close()


async def _reset_halfway(x: Exchange) -> None:
    await x.good(cut=_half(x))
    await asyncio.sleep(0.02)  # a reset overtakes bytes that were not read yet
    x.reset()


async def _close_halfway(x: Exchange) -> None:
    await x.good(cut=_half(x))
    x.close()


async def _chunked_halfway(x: Exchange) -> None:
    start, stop = x.span
    part = DATA[start:stop][: _half(x)]
    status = 200 if x.seen.byte_range is None else 206
    headers = {} if status == 200 else {"Content_Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
    await x.head(status, None, Transfer_Encoding="chunked", **headers)
    await x.send(b"%x\r\n%s\r\n" % (len(part), part))
    x.close()


async def _stall(x: Exchange) -> None:
    await asyncio.sleep(3600)


async def _stall_after_100(x: Exchange) -> None:
    await x.good(cut=100)
    await asyncio.sleep(3600)


async def _drip(x: Exchange) -> None:
    await x.good(cut=0)
    for byte in DATA[slice(*x.span)]:
        await x.send(bytes([byte]))
        await asyncio.sleep(0.05)


async def _redirect(x: Exchange) -> None:
    if x.seen.path.endswith("/there"):
        await x.good()
    else:
        await x.reply(302, Location=f"{x.seen.path.partition('?')[0]}/there")


async def _ignores_range(x: Exchange) -> None:
    await x.reply(200, DATA, ETag='"whole"')


async def _no_content_range(x: Exchange) -> None:
    await x.reply(200 if x.seen.byte_range is None else 206, DATA[slice(*x.span)])


async def _gzip_of_range(x: Exchange) -> None:
    start, stop = x.span
    body = gzip.compress(DATA[start:stop], mtime=0)
    if x.seen.byte_range is None:
        await x.reply(200, body, Content_Encoding="gzip")
    else:
        told = f"bytes {start}-{stop - 1}/{len(DATA)}"
        await x.reply(206, body, Content_Encoding="gzip", Content_Range=told)


async def _stored_gzip(x: Exchange) -> None:
    if x.seen.byte_range is None:
        await x.reply(200, STORED_GZIP, Content_Encoding="gzip")
        return
    start, stop = x.seen.byte_range
    stop = min(stop, len(STORED_GZIP))
    told = f"bytes {start}-{stop - 1}/{len(STORED_GZIP)}"
    await x.reply(206, STORED_GZIP[start:stop], Content_Encoding="gzip", Content_Range=told)


async def _too_much(x: Exchange) -> None:
    start, stop = x.span
    stop = min(stop + 64, len(DATA))
    if x.seen.byte_range is None:
        await x.good()
    else:
        await x.reply(206, DATA[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(DATA)}")


async def _replaced(x: Exchange) -> None:
    await x.good(DATA if x.number == 1 else OTHER)


async def _replaced_on_the_way(x: Exchange) -> None:
    if x.number == 1:
        await _reset_halfway(x)
    else:
        await x.good(OTHER)


async def _half_without_length(x: Exchange) -> None:
    start, stop = x.span
    headers = {} if x.seen.byte_range is None else {"Content_Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
    await x.head(206 if headers else 200, None, Connection="close", **headers)
    await x.send(DATA[start:stop][: _half(x)])
    x.close()


async def _half_with_length(x: Exchange) -> None:
    start, stop = x.span
    headers = {} if x.seen.byte_range is None else {"Content_Range": f"bytes {start}-{stop - 1}/{len(DATA)}"}
    await x.reply(206 if headers else 200, DATA[start:stop][: _half(x)], **headers)


async def _shifted(x: Exchange) -> None:
    start, stop = x.span
    if x.seen.byte_range is None:
        await x.good()
    else:
        told = f"bytes {start + 500}-{stop + 499}/{len(DATA)}"
        await x.reply(206, DATA[start + 500 : stop + 500], Content_Range=told)


async def _bit_flip(x: Exchange) -> None:
    flipped = bytearray(DATA)
    flipped[100_000] ^= 1
    await x.good(bytes(flipped))


async def _redirect_loop(x: Exchange) -> None:
    await x.reply(302, Location=x.seen.path)


def _half(x: Exchange) -> int:
    start, stop = x.span
    return (stop - start) // 2


MODES: dict[str, Mode] = {
    "good": _good,
    "500-once": _first(1, _status(500)),
    "502-once": _first(1, _status(502)),
    "504-once": _first(1, _status(504)),
    "408-once": _first(1, _status(408)),
    "reset-before-headers-once": _first(1, _reset_at_once),
    "close-before-headers-once": _first(1, _close_at_once),
    "reset-halfway-once": _first(1, _reset_halfway),
    "close-halfway-once": _first(1, _close_halfway),
    "chunked-halfway-once": _first(1, _chunked_halfway),
    "stall-before-headers-once": _first(1, _stall),
    "stall-after-100-once": _first(1, _stall_after_100),
    "redirect": _redirect,
    "429-retry-after-twice": _first(2, _status(429, Retry_After="1")),
    "200-internal-error-twice": _first(2, _status(200, S3_ERROR % b"InternalError")),
    "503-slow-down-thrice": _first(3, _status(503, S3_ERROR % b"SlowDown")),
    "429-thrice": _first(3, _status(429)),
    "ignores-range": _ignores_range,
    "no-content-range": _no_content_range,
    "gzip-of-range": _gzip_of_range,
    "401-once": _first(1, _status(401, S3_ERROR % b"ExpiredToken")),
    "64-bytes-too-many": _too_much,
    "replaced-between-reads": _replaced,
    "replaced-on-the-way": _replaced_on_the_way,
    "range-of-stored-gzip": _stored_gzip,
    "drip": _drip,
    "half-without-length": _half_without_length,
    "half-with-length": _half_with_length,
    "shifted-by-500": _shifted,
    "html-page": _status(200, HTML, Content_Type="text/html"),
    "bit-flip": _bit_flip,
    "404": _status(404),
    "403": _status(403, S3_ERROR % b"AccessDenied"),
    "reset-halfway": _reset_halfway,
    "close-halfway": _close_halfway,
    "redirect-loop": _redirect_loop,
    "redirect-to-file": _status(302, Location="file:///etc/passwd"),
}
"""Name -> behaviour; the 37 of which the store promises correct bytes or an error, never other bytes."""


class FaultServer:
    """The server, in a thread of its own; ``with FaultServer() as server``."""

    def __init__(self, modes: dict[str, Mode] | None = None, *, delay_s: float = 0.0) -> None:
        self.modes = MODES | (modes or {})
        self.delay_s = delay_s
        self.seen: list[Seen] = []
        self.counts: Counter[str] = Counter()
        self.in_flight = self.max_in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="faultserver")
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the server is told to
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        method, path, _ = request.split(" ")
        self.seen.append(Seen(method, path, _byte_range(headers.get("range")), headers, time.monotonic()))
        self.counts[path] += 1
        exchange = Exchange(self.seen[-1], self.counts[path], writer)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await next(self.modes[part] for part in path.split("/") if part in self.modes)(exchange)
        finally:
            self.in_flight -= 1
        return exchange.keep_open


def _byte_range(header: str | None) -> tuple[int, int] | None:
    if header is None:
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1 if last else len(DATA)
