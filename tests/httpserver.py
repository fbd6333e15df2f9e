"""An HTTP server in a thread that records every request, and one of its kind that serves files.

A request is on record before its first byte is answered, so a test may look at ``requests`` as soon as its read is
done. The servers of servers.py that stand before emulators are of this kind too.
"""

import asyncio
import re
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from aiohttp import web

__all__ = ["HOST", "HttpServer", "RecordingServer", "Request"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Request:
    """One request that a server got, and what it answered."""

    method: str
    path: str
    """As sent, percent-encoded, without the query."""
    query: str
    """As sent, without the question mark."""
    range: str | None
    """The Range header (for Azure, x-ms-range); None where there is none."""
    headers: Mapping[str, str]
    """All headers of the request, names in lower case."""
    status: int
    sent: int
    """Bytes of the body that was answered."""


class RecordingServer:
    """An aiohttp server in a thread of its own, which records every request."""

    protocol = "http"

    def __init__(self) -> None:
        self.port = 0
        self.delay_s = 0.0
        """Added to every answer; may be changed while the server runs."""
        self._records: list[Request] = []
        self._in_flight = self._max_in_flight = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._runner: web.AppRunner | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """Give the answer to `request`, its body whole."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """All requests since the start or the last :meth:`clear`, in the order of their answers."""
        return list(self._records)

    @property
    def max_in_flight(self) -> int:
        """The largest number of requests that were being answered at one time."""
        return self._max_in_flight

    def clear(self) -> None:
        """Forget the requests so far, and the delay."""
        self.delay_s = 0.0
        self._records = []
        self._max_in_flight = self._in_flight

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__, daemon=True)
        self._thread.start()
        try:
            self._wait(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self.delay_s)
            response = await self.answer(request)
        finally:
            self._in_flight -= 1
        self._records.append(_record(request, response))
        return response


def _record(request: web.Request, response: web.Response) -> Request:
    path, _, query = request.raw_path.partition("?")
    headers = {name.lower(): value for name, value in request.headers.items()}
    asked = headers.get("x-ms-range", headers.get("range"))
    sent = len(response.body) if isinstance(response.body, bytes) and request.method != "HEAD" else 0
    return Request(request.method, path, query, asked, headers, response.status, sent)


class HttpServer(RecordingServer):
    """Files of a directory over HTTP/1.1: GET, HEAD, one range per request, ETag, If-Match.

    Parameters
    ----------
    directory
        What is served; nothing outside can be reached.
    ignore_range
        Answer a range request with 200 and the whole file, as many servers do.
    required_headers
        Answer 401 where a request lacks one of these headers.
    """

    def __init__(
        self, directory: Path, *, ignore_range: bool = False, required_headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self.directory = directory.resolve()
        self.ignore_range = ignore_range
        self.required_headers = dict(required_headers or {})

    @property
    def storage_options(self) -> dict[str, Any]:
        """What fsspec needs to read from here."""
        return {"client_kwargs": {"headers": self.required_headers}} if self.required_headers else {}

    async def answer(self, request: web.Request) -> web.Response:
        """Give the file or the part that `request` asks for."""
        if any(request.headers.get(name) != value for name, value in self.required_headers.items()):
            return web.Response(status=401)
        if request.method not in {"GET", "HEAD"}:
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        path = (self.directory / unquote(request.raw_path.partition("?")[0]).lstrip("/")).resolve()
        if not path.is_relative_to(self.directory) or not path.is_file():
            return web.Response(status=404)
        return self._file(path, request.headers)

    def _file(self, path: Path, headers: Mapping[str, str]) -> web.Response:
        stat = path.stat()
        answer = {"ETag": f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"', "Accept-Ranges": "bytes"}
        if headers.get("If-Match", answer["ETag"]) not in {answer["ETag"], "*"}:
            return web.Response(status=412, headers=answer)
        part = None if self.ignore_range else _parse_range(headers.get("Range", ""), stat.st_size)
        if part is None:
            return web.Response(body=path.read_bytes(), headers=answer)
        start, stop = part
        if start >= stop:
            return web.Response(status=416, headers=answer | {"Content-Range": f"bytes */{stat.st_size}"})
        with path.open("rb") as file:
            file.seek(start)
            body = file.read(stop - start)
        answer["Content-Range"] = f"bytes {start}-{stop - 1}/{stat.st_size}"
        return web.Response(status=206, body=body, headers=answer)


def _parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Give (start, stop) of a Range header, cut to `size`; None where the whole file is meant (RFC 9110, 14.2)."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size
