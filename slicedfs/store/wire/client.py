"""GET over HTTP/1.1 for one filesystem: its connections live and go with it."""

import asyncio
import atexit
import contextlib
import os
import ssl
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from slicedfs.store.wire.buffers import Buffers
from slicedfs.store.wire.connection import Answer, Decide
from slicedfs.store.wire.dial import Resolver
from slicedfs.store.wire.heads import Head
from slicedfs.store.wire.pool import Origin, Pool

__all__ = ["Client", "client_of", "request_bytes"]

_SCRATCH_BYTES = 68 << 10
"""A body of 64 KiB comes in one piece with its head."""
_EXIT_S = 0.5


class Client:
    """Connections to any origin, on the running loop.

    Parameters
    ----------
    stall_s
        Seconds without a byte after which a read fails.
    check
        Called with (name, address) of every host; raises where it may not have that address. None: any will do.
    """

    def __init__(self, stall_s: float, check: Callable[[str, str], None] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.stall_s = stall_s
        self.scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self.buffers = Buffers()
        self.resolver = Resolver(check)
        self._pools: dict[Origin, Pool] = {}

    async def get(
        self, origin: Origin, request: bytes, decide: Decide, room: Callable[[Head], Awaitable[None]]
    ) -> Answer:
        """Send `request` to `origin` and return the reply, as :meth:`slicedfs.store.wire.pool.Pool.get`."""
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self)
        return await pool.get(request, decide, room)

    async def tls(self) -> ssl.SSLContext:
        """Return how to speak TLS: with the system's certificates, read once a process, in a thread."""
        return _tls if _tls is not None else await self.loop.run_in_executor(None, _make_tls)

    def close(self) -> None:
        """Close all connections; on the loop."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self.buffers.clear()


def request_bytes(target: str, fields: bytes) -> bytes:
    """Return the head of a GET of `target` (path and query, encoded), with `fields`, which end in CRLF.

    Raises
    ------
    ValueError
        The target holds what would end the line, or is no path.
    """
    if not (target.startswith("/") and target.isascii() and target.isprintable() and " " not in target):
        raise ValueError(f"a path to ask for must begin with / and hold printable ASCII alone, got {target[:80]!r}")
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (target.encode("ascii"), fields)


_tls: ssl.SSLContext | None = None
_tls_lock = threading.Lock()


def _make_tls() -> ssl.SSLContext:
    global _tls  # noqa: PLW0603 - made once, and the same for all
    with _tls_lock:
        if _tls is None:
            context = ssl.create_default_context()
            context.set_alpn_protocols(["http/1.1"])
            _tls = context
    return _tls


_clients: "weakref.WeakKeyDictionary[Any, Client]" = weakref.WeakKeyDictionary()
_of_parent: list[Client] = []


def client_of(filesystem: Any, make: Callable[[], Client]) -> Client:
    """Return the client that belongs to `filesystem`, made by `make` on first use, and anew on another loop."""
    client = _clients.get(filesystem)
    if client is None or client.loop is not asyncio.get_running_loop():
        client = _clients[filesystem] = make()
        weakref.finalize(filesystem, _close, client).atexit = False
    return client


def _close(client: Client) -> None:
    """Close `client` from any thread, the loop's own included: filesystems are collected anywhere."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: its sockets are, too
        client.loop.call_soon_threadsafe(client.close)


def _close_all() -> None:
    """Close what is open before the interpreter ends, so that nothing is found open by the garbage collection."""
    for client in list(_clients.values()):
        done = threading.Event()
        with contextlib.suppress(RuntimeError):
            client.loop.call_soon_threadsafe(client.close)
            client.loop.call_soon_threadsafe(done.set)
            if client.loop.is_running():
                done.wait(_EXIT_S)


def _forget() -> None:
    """Leave the parent's connections alone in a forked child: to close them here would end them there."""
    global _tls_lock  # noqa: PLW0603 - a lock held at the moment of the fork would stay held
    _tls_lock = threading.Lock()
    _of_parent.extend(_clients.values())
    _clients.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
