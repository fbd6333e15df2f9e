"""The ceiling: plain sockets, one thread, one epoll, as many connections as asked for, straight into buffers."""

import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import numpy as np

from benchmarks.suite.data import NPY_HEADER, stem
from benchmarks.suite.pixels import TILE, ImageSet
from benchmarks.suite.workloads import Read, touched

__all__ = ["Part", "Pool", "Whole"]

Sink = Callable[[int, memoryview], None]
_ROW = TILE * 2


class _Connection:
    """One socket; a request at a time."""

    def __init__(self, host: str, port: int, capacity: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.view = memoryview(bytearray(capacity))
        self.number = self.filled = self.body = self.end = 0

    def send(self, number: int, request: bytes) -> None:
        """Ask for the next thing."""
        self.number, self.filled, self.end = number, 0, 0
        self.socket.send(request)

    def receive(self) -> bool:
        """Take what is there; True when the answer is complete."""
        got = self.socket.recv_into(self.view[self.filled :])
        if not got:
            raise ConnectionError("the server closed the connection")
        self.filled += got
        if not self.end:
            self._parse_head()
        return bool(self.end) and self.filled >= self.end

    def _parse_head(self) -> None:
        head, separator, _ = bytes(self.view[: min(self.filled, 2048)]).partition(b"\r\n\r\n")
        if not separator:
            return
        if head.split(b" ", 2)[1] not in {b"200", b"206"}:
            raise ConnectionError(head.decode())
        self.body = len(head) + 4
        self.end = self.body + int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])


class Pool:
    """`connections` sockets to one server; they are made when first needed, and kept."""

    def __init__(self, base: str, connections: int, capacity: int) -> None:
        parts = urlsplit(base)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._most, self._capacity = connections, capacity
        self._all: list[_Connection] = []

    def fetch(self, requests: Sequence[tuple[str, tuple[int, int] | None]], sink: Sink) -> None:
        """Ask for each path, or the half-open range of it; `sink` gets the number of the request and its body."""
        waiting = deque(enumerate(self._head(path, part) for path, part in requests))
        while len(self._all) < min(self._most, len(requests)):
            self._all.append(_Connection(self._host, self._port, self._capacity))
        poll, busy = select.epoll(), {}
        for connection in self._all[: len(requests)]:
            poll.register(connection.socket, select.EPOLLIN)
            busy[connection.socket.fileno()] = connection
            connection.send(*waiting.popleft())
        left = len(requests)
        while left:
            for number, _ in poll.poll():
                connection = busy[number]
                if connection.receive():
                    left -= 1
                    done, body = connection.number, connection.view[connection.body : connection.end]
                    sink(done, body)
                    if waiting:
                        connection.send(*waiting.popleft())
        poll.close()

    def _head(self, path: str, part: tuple[int, int] | None) -> bytes:
        span = f"Range: bytes={part[0]}-{part[1] - 1}\r\n" if part else ""
        return f"GET {path} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n{span}\r\n".encode()


class Whole:
    """Whole tiles; pixels of NPY are pasted into the result, other formats are only received."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int) -> None:  # noqa: ARG002 - as all
        self._folder = f"/{data}/"
        self._extension = {"npy": ".npy", "tiffdef": ".tiff", "png": ".png"}[data]
        self.pixels = data == "npy"
        self._pool = Pool(base, concurrency, TILE * _ROW + 4096)

    def read(self, read: Read) -> np.ndarray:
        """Read with one request a tile."""
        parts = touched(read)
        out = np.empty(read.shape, np.uint16)

        def paste(number: int, body: memoryview) -> None:
            part = parts[number]
            if self.pixels:
                whole = np.frombuffer(body, np.uint16, offset=NPY_HEADER).reshape(TILE, TILE)
                out[part.dst] = whole[part.src]

        self._pool.fetch([(self._folder + stem(part.place) + self._extension, None) for part in parts], paste)
        return out


class Part:
    """Only the rows that are needed, of NPY whose header is known."""

    pixels = True

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int) -> None:  # noqa: ARG002 - as all
        self._pool = Pool(base, concurrency, TILE * _ROW + 4096)

    def read(self, read: Read) -> np.ndarray:
        """Read with one range a tile."""
        parts = touched(read)
        out = np.empty(read.shape, np.uint16)

        def paste(number: int, body: memoryview) -> None:
            part = parts[number]
            out[part.dst] = np.frombuffer(body, np.uint16).reshape(-1, TILE)[:, part.src[1]]

        wanted = [(NPY_HEADER + part.src[0].start * _ROW, NPY_HEADER + part.src[0].stop * _ROW) for part in parts]
        names = [f"/npy/{stem(part.place)}.npy" for part in parts]
        self._pool.fetch(list(zip(names, wanted, strict=True)), paste)
        return out
