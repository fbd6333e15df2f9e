"""http and https over the wire, for an HTTPFileSystem that asks for nothing special."""

import asyncio
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from slicedfs import url as urls
from slicedfs.ranges import ByteRange
from slicedfs.store.options import Ask
from slicedfs.store.replies import range_header
from slicedfs.store.wire.answers import Got, is_redirect, take_of
from slicedfs.store.wire.client import Client, client_of, request_bytes
from slicedfs.store.wire.connection import Take
from slicedfs.store.wire.heads import Head
from slicedfs.store.wire.pool import Origin

__all__ = ["HttpLane", "agent", "field_lines", "http_lane", "is_plain_http"]

_KNOWN = frozenset({"headers"})
_MOST_PLACES = 1000


class _Place(NamedTuple):
    """An origin, as written in URLs, and the headers for it."""

    origin: Origin
    fields: bytes


def is_plain_http(filesystem: Any) -> bool:
    """Say whether the options of `filesystem` concern nothing but headers.

    Proxies, cookies, certificates, timeouts, credentials: what else aiohttp takes stays aiohttp's.
    """
    from fsspec.implementations.http import HTTPFileSystem

    return (
        type(filesystem) is HTTPFileSystem
        and filesystem.kwargs.keys() <= _KNOWN
        and filesystem.client_kwargs.keys() <= _KNOWN
    )


class HttpLane:
    """GET requests of one HTTPFileSystem.

    Parameters
    ----------
    filesystem
        One that :func:`is_plain_http` finds plain; not kept.
    client
        Returns the client whose connections to use, of the running loop.
    """

    def __init__(self, filesystem: Any, client: Callable[[], Client]) -> None:
        self._headers = [filesystem.client_kwargs.get("headers"), filesystem.kwargs.get("headers")]
        self._client_of = client
        self._client: Client | None = None
        self._places: dict[str, _Place | None] = {}
        self._needs_cookies = False

    async def get(self, url: str, asked: ByteRange, ask: Ask) -> Got | None:
        """Send one GET for the bytes `asked` of `url`; None: it takes another client.

        Raises
        ------
        Exception
            As :meth:`slicedfs.store.wire.pool.Pool.get`; what :func:`take_of` raises.
        """
        text = urls.http_url(url)
        place, target = self._parts(text)
        if place is None or self._needs_cookies:
            return None
        fields = place.fields
        if not asked.is_whole:
            fields += b"Range: %b\r\n" % range_header(asked).encode("ascii")
        try:
            request = request_bytes(target, fields)
        except ValueError:
            return None  # to be encoded

        def decide(head: Head) -> Take:
            return take_of(Got(head.status, head.headers, b""), head.length, ask)

        async def room(head: Head) -> None:
            await ask.expect(head.length)

        client = self._client
        if client is None or client.loop is not asyncio.get_running_loop():
            client = self._client = self._client_of()
        head, data = await client.get(place.origin, request, decide, room)
        if is_redirect(head.status, head.headers) and "set-cookie" in head.headers:
            self._needs_cookies = True  # sites with a login send them along
            return None
        return Got(head.status, head.headers, data)

    def _parts(self, url: str) -> tuple[_Place | None, str]:
        """Return where to ask, and for what."""
        start = url.find("://") + 3
        end = min(at for at in (url.find("/", start), url.find("?", start), len(url)) if at >= 0)
        authority, target = url[:end], url[end:]
        if authority not in self._places:
            if len(self._places) >= _MOST_PLACES:
                self._places.clear()
            self._places[authority] = _place(authority, self._headers)
        return self._places[authority], target if target.startswith("/") else f"/{target}"


def http_lane(filesystem: Any, make: Callable[[], Client]) -> HttpLane | None:
    """Return the lane for `filesystem`, whose client is made by `make` on first use; None where it is not plain."""
    if not is_plain_http(filesystem):
        return None
    return HttpLane(filesystem, lambda: client_of(filesystem, make))


def field_lines(headers: Mapping[str, str]) -> bytes:
    """Return `headers` as lines of a request.

    Raises
    ------
    ValueError
        A name or value holds what would end its line.
    """
    lines = [f"{name}: {value}" for name, value in headers.items()]
    for line in lines:
        if any(mark in line for mark in "\r\n\0"):
            raise ValueError("a header must not hold line breaks; one of the headers given does")
    return "".join(f"{line}\r\n" for line in lines).encode()


def _place(authority: str, given: list[Any]) -> _Place | None:
    """Return the place that `authority` ("https://user:password@host:port") names; None where aiohttp knows better."""
    from multidict import CIMultiDict
    from yarl import URL

    try:
        url = URL(authority)
        headers = CIMultiDict({"Host": url.host_port_subcomponent or "", "User-Agent": agent(), "Accept": "*/*"})
        for more in given:
            headers.update(more or {})
        headers["Accept-Encoding"] = "identity"  # a range of compressed bytes is of no use
        headers.pop("Range", None)
        if url.user is not None or url.password is not None:
            if "Authorization" in headers:
                return None
            headers["Authorization"] = _basic(url.user or "", url.password or "")
        if not url.raw_host or url.port is None:
            return None
        return _Place(Origin(url.scheme == "https", url.raw_host, url.port), field_lines(headers))
    except (ValueError, TypeError, AttributeError):
        return None  # and aiohttp says what is wrong with them


def _basic(user: str, password: str) -> str:
    """Return the credentials as RFC 7617 has them (section 2: no colon in the name)."""
    if ":" in user:
        raise ValueError("a user name must not hold a colon")
    return f"Basic {b64encode(f'{user}:{password}'.encode('latin-1')).decode('ascii')}"


def agent() -> str:
    """Return what the servers' logs call us."""
    return f"slicedfs/{sys.modules['slicedfs'].__version__}"  # no import: the package's top lies above the store
