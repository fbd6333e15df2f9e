"""Name to addresses to socket: cached for seconds, checked, tried side by side."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

__all__ = ["Resolver", "connect"]

_CACHED_S = 10.0
_NEXT_S = 0.25  # RFC 8305, section 5: when the next address is tried beside the ones before
_Address = tuple[int, Any]


class Resolver:
    """Addresses by name, on one loop.

    Parameters
    ----------
    check
        Called with (name, address) each time a name is asked for; raises where it may not have that address.
    """

    def __init__(self, check: Callable[[str, str], None] | None) -> None:
        self._check = check
        self._known: dict[tuple[str, int], tuple[float, asyncio.Future[list[_Address]]]] = {}

    async def resolve(self, host: str, port: int) -> list[_Address]:
        """Return (family, socket address) of `host`, in the order of preference of the system.

        Raises
        ------
        OSError
            There is no such name.
        UrlPolicyError
            It may not have the address that it has.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        addresses = await asyncio.shield(self._lookup(host, port))
        if self._check is not None:
            for _, address in addresses:
                self._check(host, address[0])
        return addresses

    def forget(self, host: str, port: int) -> None:
        """Ask for the name anew the next time: its address did not work."""
        self._known.pop((host, port), None)

    def _lookup(self, host: str, port: int) -> "asyncio.Future[list[_Address]]":
        now_s = asyncio.get_running_loop().time()
        until_s, lookup = self._known.get((host, port), (0.0, None))
        if lookup is None or until_s < now_s or (lookup.done() and (lookup.cancelled() or lookup.exception())):
            lookup = asyncio.ensure_future(_ask_system(host, port))
            lookup.add_done_callback(_seen)
            self._known[host, port] = now_s + _CACHED_S, lookup
        return lookup


def _seen(lookup: "asyncio.Future[list[_Address]]") -> None:
    if not lookup.cancelled():
        lookup.exception()  # those who waited may all have been cancelled


async def _ask_system(host: str, port: int) -> list[_Address]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


def _literal(host: str, port: int) -> _Address | None:
    """Return the address that `host` is; None where it is a name, or needs the system to be understood."""
    try:
        version = ip_address(host).version
    except ValueError:
        return None
    if "%" in host:  # the number of its zone
        return None
    return (socket.AF_INET, (host, port)) if version == 4 else (socket.AF_INET6, (host, port))  # noqa: PLR2004 - IPv4


async def connect(addresses: Sequence[_Address]) -> socket.socket:
    """Return a socket connected to the first of `addresses` that answers; each gets a quarter second's start.

    Raises
    ------
    OSError
        None does; the error of the first.
    """
    if len(addresses) == 1:
        return await _connect_one(addresses[0])
    tasks: list[asyncio.Task[socket.socket]] = []
    won: asyncio.Task[socket.socket] | None = None
    try:
        for address in addresses:
            tasks.append(asyncio.ensure_future(_connect_one(address)))
            won = await _winner(tasks, _NEXT_S if len(tasks) < len(addresses) else None)
            if won is not None:
                return won.result()
        return tasks[0].result()  # raises
    finally:
        for task in tasks:
            if task is not won:
                task.cancel()
                task.add_done_callback(_close)


async def _winner(
    tasks: "list[asyncio.Task[socket.socket]]", timeout_s: float | None
) -> "asyncio.Task[socket.socket] | None":
    """Wait until one has connected; None: all have failed, or `timeout_s` is over (None: no such bound)."""
    deadline_s = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
    while running := [task for task in tasks if not task.done()]:
        left_s = None if deadline_s is None else max(0.0, deadline_s - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        won = next((task for task in done if _has_won(task)), None)
        if won is not None or not done:
            return won
    return None


def _has_won(task: "asyncio.Task[socket.socket]") -> bool:
    return not task.cancelled() and task.exception() is None


def _close(task: "asyncio.Task[socket.socket]") -> None:
    """Close what a later attempt may have opened meanwhile."""
    if _has_won(task):
        task.result().close()


async def _connect_one(address: _Address) -> socket.socket:
    made = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        made.settimeout(0)  # the loop waits, not the socket
        await asyncio.get_running_loop().sock_connect(made, address[1])
    except BaseException:
        made.close()
        raise
    return made
