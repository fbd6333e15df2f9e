"""nginx on the loopback interface, one port for each delay, and what its access log says about the requests.

::

    with Server(folder, delays=(0, 50)) as server:
        mark = server.mark()
        ...  # somebody reads from server.url(50)
        server.since(mark, 50)  # Traffic(requests=…, bytes=…, trips=…)

The delay of each request is that of a store far away: it counts for every request, and any number of requests wait at
the same time. There is no other limit, neither of bandwidth nor of connections.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

__all__ = ["Served", "Server", "ServerMissingError", "Traffic", "chain", "traffic"]

HOST = "127.0.0.1"
_SETTLED_S = 0.01
"""nginx writes a line when it has sent the last byte, so the log is at rest soon after a reader is done."""
_CONFIG = """\
daemon off; master_process off; pid {folder}/pid; error_log stderr crit; worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  log_format short '$server_port $msec $request_time $status $body_bytes_sent $request_method $uri';
  access_log {folder}/log short;
  sendfile on; etag on; gzip off; keepalive_timeout 600s; keepalive_requests 100000000;
  open_file_cache max=200000 inactive=600s; open_file_cache_valid 600s;
  types {{ application/json json; image/tiff tif tiff; image/png png; }} default_type application/octet-stream;
  {temporary}
  upstream delayer {{ server unix:{folder}/delayer; keepalive 1024; }}
  {servers}
}}
"""
_SERVER = '  server {{ listen {host}:{port} backlog=4096; root "{root}"; {delay} }}\n'
_DELAY = """\
    location / {{ auth_request /.delay; }}
    location = /.delay {{
      internal; proxy_pass http://delayer/{milliseconds:g}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_pass_request_body off; proxy_pass_request_headers off; access_log off;
    }}
"""


class ServerMissingError(RuntimeError):
    """nginx is not installed; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Served:
    """One answered request; times in seconds."""

    start: float
    end: float
    status: int
    bytes: int
    """Of the body."""
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """What happened at the server."""

    requests: int
    bytes: int
    trips: int
    """Length of the longest chain of requests that began after another had ended: the round trips, where fewer requests
    are made than may be in flight; else also the waves of requests that waited for their turn."""


def chain(requests: Iterable[Served], slack: float = 0.0015) -> int:
    """Give the length of the longest chain of `requests`, each begun after the end of the one before.

    Parameters
    ----------
    slack
        Seconds by which two may overlap: times in the log are whole milliseconds.
    """
    length, last = 0, float("-inf")
    for request in sorted(requests, key=lambda request: request.end):
        if request.start >= last - slack:
            length, last = length + 1, request.end
    return length


def traffic(requests: Sequence[Served]) -> Traffic:
    """Add up `requests`."""
    return Traffic(len(requests), sum(request.bytes for request in requests), chain(requests))


class Server:
    """nginx with the files of a folder, at ``url(delay)`` for each delay.

    Parameters
    ----------
    root
        What is served.
    delays
        Milliseconds by which each request is delayed; 0 and less: it is not.
    """

    def __init__(self, root: Path, delays: Iterable[float] = (0,)) -> None:
        self._root = root.resolve()
        self._delays = tuple(delays)
        self._stack = contextlib.ExitStack()
        self._ports: dict[float, int] = {}
        self._log = Path()

    def url(self, delay: float) -> str:
        """Give ``http://127.0.0.1:port`` of `delay`."""
        return f"http://{HOST}:{self._ports[delay]}"

    def __enter__(self) -> Self:
        program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise ServerMissingError("nginx is not installed. Install it (Debian: apt-get install nginx-light).")
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slicedfs-bench-")))
            self._ports = {delay: _free_port() for delay in self._delays}
            self._log = folder / "log"
            (folder / "nginx.conf").write_text(self._config(folder))
            script = Path(__file__).with_name("delayer.py")
            stack.enter_context(_running([sys.executable, str(script), str(folder / "delayer")]))
            _wait_until((folder / "delayer").exists, "the delayer did not start")
            stack.enter_context(_running([program, "-p", str(folder), "-c", str(folder / "nginx.conf")]))
            for delay in self._delays:
                _wait_until(partial(_answers, self.url(delay)), f"nginx did not answer at {self.url(delay)}")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _config(self, folder: Path) -> str:
        files = min(60_000, _open_files())
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        servers = "".join(
            _SERVER.format(
                host=HOST, port=port, root=self._root, delay=_DELAY.format(milliseconds=delay) if delay > 0 else ""
            )
            for delay, port in self._ports.items()
        )
        return _CONFIG.format(
            folder=folder,
            files=files,
            connections=files // 2,
            temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
            servers=servers,
        )

    def mark(self) -> int:
        """Give the place in the log now; nobody may be reading."""
        return self._log.stat().st_size

    def settled(self) -> int:
        """Give the place in the log when it is at rest."""
        size = -1
        while size != (now := self.mark()):
            size = now
            time.sleep(_SETTLED_S)
        return size

    def requests_since(self, mark: int, delay: float) -> list[Served]:
        """Give the requests to the port of `delay` that ended after `mark`."""
        end = self.settled()
        with self._log.open("rb") as file:
            file.seek(mark)
            text = file.read(end - mark).decode()
        lines = (line.partition(" ") for line in text.splitlines())
        return [_parsed(line) for port, _, line in lines if port == str(self._ports[delay])]

    def since(self, mark: int, delay: float) -> Traffic:
        """Add up the requests to the port of `delay` that ended after `mark`."""
        return traffic(self.requests_since(mark, delay))


def _parsed(line: str) -> Served:
    end, seconds, status, size, method, path = line.split(" ", 5)
    return Served(float(end) - float(seconds), float(end), int(status), int(size), method, path)


def _open_files() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str]):
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/images.json", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _wait_until(is_so: Callable[[], bool], otherwise: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {seconds} s")
        time.sleep(0.02)
