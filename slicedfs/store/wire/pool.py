"""The connections to one origin: used again while they live, watched while they work."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from slicedfs.store.wire.buffers import Buffers
from slicedfs.store.wire.connection import Answer, Connection, Decide, StaleError
from slicedfs.store.wire.dial import Resolver, connect
from slicedfs.store.wire.heads import Head

__all__ = ["CONNECT_S", "IDLE_S", "Origin", "Pool", "Shared"]

CONNECT_S = 10.0
"""Seconds to connect, TLS included."""
IDLE_S = 15.0
"""Seconds that an unused connection is kept: less than the servers' own patience."""
_TICKS = 8


class Origin(NamedTuple):
    """Where a connection leads."""

    is_tls: bool
    """https."""
    host: str
    """Name or address, without brackets."""
    port: int
    """TCP port."""


class Shared(Protocol):
    """What the pools of a client have in common."""

    stall_s: float
    """Seconds without a byte after which a read fails."""
    scratch: memoryview
    """Where heads arrive."""
    buffers: Buffers
    """Memory for bodies."""
    resolver: Resolver
    """Addresses of names."""

    async def tls(self) -> ssl.SSLContext:
        """Return how to speak TLS."""
        ...


class Pool:
    """The connections to `origin`, as many as are asked for; the store bounds its requests."""

    def __init__(self, origin: Origin, shared: Shared) -> None:
        self._origin, self._shared = origin, shared
        self._idle: list[tuple[float, Connection]] = []
        self._working: set[Connection] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def get(self, request: bytes, decide: Decide, room: Callable[[Head], Awaitable[None]]) -> Answer:
        """Send `request` and return the reply.

        Parameters
        ----------
        request
            The whole head of a GET.
        decide
            Says what to take of the body.
        room
            Awaited before a body is read, where `decide` says so and the body has not come already.

        Raises
        ------
        OSError
            There is no connection, or it breaks; TimeoutError where nothing comes.
        TryError
            What comes is not HTTP, or too large.
        Exception
            What `decide` and `room` raise.
        """
        loop = asyncio.get_running_loop()
        connection = self._idle_one()
        if connection is not None:
            try:
                return await self._exchange(connection, request, decide, room)
            except StaleError:
                pass  # closed by the server while it was idle
        connection = await self._open(loop)
        return await self._exchange(connection, request, decide, room)

    def close(self) -> None:
        """Close all connections, those at work too; on the loop."""
        self._is_closed = True
        for timer in (self._watch, self._sweep):
            if timer is not None:
                timer.cancel()
        for connection in [*self._working, *(connection for _, connection in self._idle)]:
            connection.abort()

    async def _exchange(
        self, connection: Connection, request: bytes, decide: Decide, room: Callable[[Head], Awaitable[None]]
    ) -> Answer:
        self._working.add(connection)
        if self._watch is None:
            self._watch_later(asyncio.get_running_loop())
        waiter = connection.send(request, decide)
        try:
            answer = await waiter
            if answer is None:
                await room(connection.head)
                waiter = connection.go_on()
                answer = await waiter
        except BaseException:
            connection.give_up(waiter)
            raise
        if answer is None:
            raise RuntimeError("a connection asked for room twice")
        return answer

    async def _open(self, loop: asyncio.AbstractEventLoop) -> Connection:
        is_tls, host, port = self._origin
        shared = self._shared
        context = await shared.tls() if is_tls else None
        try:
            async with asyncio.timeout(CONNECT_S):
                socket = await connect(await shared.resolver.resolve(host, port))
                _, connection = await loop.create_connection(  # owns the socket from here on
                    lambda: Connection(shared.scratch, shared.buffers, self._freed, self._lost),
                    sock=socket,
                    ssl=context,
                    server_hostname=host if is_tls else None,
                )
        except OSError as error:
            shared.resolver.forget(host, port)
            raise _unreached(self._origin, error) from error
        if self._is_closed:
            connection.abort()
        return connection

    def _idle_one(self) -> Connection | None:
        """Return the connection used last: the others may grow old."""
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_open:
                return connection
        return None

    def _freed(self, connection: Connection) -> None:
        self._working.discard(connection)
        if self._is_closed:
            connection.abort()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((loop.time(), connection))
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE_S, self._close_idle, loop)

    def _lost(self, connection: Connection) -> None:
        self._working.discard(connection)
        self._idle = [kept for kept in self._idle if kept[1] is not connection]

    def _close_idle(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what was not used for a while; those used last are at the end."""
        self._sweep = None
        oldest_s = loop.time() - IDLE_S
        for since_s, connection in list(self._idle):
            if since_s <= oldest_s:
                connection.abort()
        if self._idle:
            wait_s = max(0.1, self._idle[0][0] - oldest_s)
            self._sweep = loop.call_later(wait_s, self._close_idle, loop)
        elif not self._working:
            self._shared.buffers.clear()

    def _watch_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watch = loop.call_later(self._shared.stall_s / _TICKS, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for connection in list(self._working):
            connection.tick(now_s, self._shared.stall_s)
        self._watch = None
        if self._working:
            self._watch_later(loop)


def _unreached(origin: Origin, error: OSError) -> OSError:
    """Return the failure to connect: a broken certificate and a refused address stay what they are."""
    if isinstance(error, (ssl.SSLError, TimeoutError, PermissionError)):
        return error
    return ConnectionError(f"cannot connect to {origin.host} port {origin.port}: {error}")
