"""Reading over http and https, by the options of fsspec's HTTPFileSystem.

fsspec's own ``_cat_file`` returns whatever comes: whole objects for ranges, other ranges, short bodies, login
pages. So the request is made here, with the filesystem's headers: by our own client (:mod:`slicedfs.store.wire`), and
with the filesystem's session where its options or the user's own session ask for more than that client knows.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urljoin

from slicedfs import url as urls
from slicedfs.errors import UrlPolicyError
from slicedfs.policy import UrlPolicy
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import replies
from slicedfs.store.options import Ask, Reply
from slicedfs.store.retry import TryError, Verdict
from slicedfs.store.wire import answers
from slicedfs.store.wire.answers import Got
from slicedfs.store.wire.client import Client
from slicedfs.store.wire.http import HttpLane, http_lane
from slicedfs.store.wire.pool import CONNECT_S

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CONNECT_S", "Session", "Web"]

_MAX_REDIRECTS = 5
_HABIT = 2
_SLOWEST_BYTES_PER_S = 1024
_URL_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True)
class Session:
    """Make the aiohttp session of an HTTPFileSystem: its ``get_client`` option; picklable, repr is stable.

    fsspec shares filesystems by the text of their options, so two stores with the same rules share a session.
    """

    stall_s: float
    """Seconds without a byte after which a read fails."""
    policy: UrlPolicy | None = None
    """Checks every address that a host name resolves to; None: any address will do."""
    source: str = ""
    """URL on whose behalf the policy is asked."""

    async def __call__(self, **options: Any) -> "aiohttp.ClientSession":
        """Return a session; `options` are fsspec's ``client_kwargs``."""
        import aiohttp

        resolver: Any = None
        if self.policy is not None:
            resolver = _GuardedResolver(aiohttp.DefaultResolver(), self.policy, self.source)
        if "connector" not in options:  # the store bounds requests itself
            options["connector"] = aiohttp.TCPConnector(limit=0, resolver=resolver)
        options.setdefault("auto_decompress", False)  # sizes are checked before anything is decoded
        options.setdefault("timeout", aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self.stall_s))
        return aiohttp.ClientSession(**options)

    def client(self) -> Client:
        """Return a client of our own that keeps the same rules, on the running loop."""
        if self.policy is None:
            return Client(self.stall_s)
        policy, source = self.policy, self.source
        return Client(self.stall_s, lambda host, address: policy.check_address(host, address, source))


class _GuardedResolver:
    """An aiohttp resolver that lets the policy see every address (a public name may point inwards)."""

    def __init__(self, inner: "aiohttp.abc.AbstractResolver", policy: UrlPolicy, source: str) -> None:
        self._inner, self._policy, self._source = inner, policy, source

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        """Return aiohttp's ResolveResults of `host`, all of them allowed."""
        results = await self._inner.resolve(host, port, family)
        for result in results:
            self._policy.check_address(host, result["host"], self._source)
        return list(results)

    async def close(self) -> None:
        """Close the resolver that does the work."""
        await self._inner.close()


@dataclass(slots=True)
class Web:
    """A reader of one origin."""

    filesystem: Any
    """Its HTTPFileSystem."""
    redirected: Callable[[str, str], Awaitable[Any]]
    """(url, the URL that redirects there) -> the HTTPFileSystem for it."""
    policy: UrlPolicy
    """Asked about redirects."""
    stall_s: float
    """Seconds in which more than a trickle must come."""
    no_ranges: bool = False
    """The server was seen to ignore ranges: it is asked for whole objects at once."""
    _ignored: int = 0
    """Ranges in a row that came as the whole."""
    _lanes: dict[int, tuple[Any, HttpLane | None]] = field(default_factory=dict)

    async def read(self, url: str, ask: Ask) -> Reply:
        """Read what is asked of `url`, checked; one try.

        Raises
        ------
        TryError
            The server's answer is not what was asked for.
        UrlPolicyError
            A redirect leads where it may not lead.
        """

        async def exchange(asked: ByteRange) -> Reply:
            return await self._exchange(url, ask, asked)

        return await replies.or_whole(exchange, WHOLE if self.no_ranges else ask.want)

    async def _exchange(self, url: str, ask: Ask, asked: ByteRange) -> Reply:
        got = await self._followed(url, ask, asked)
        reply = answers.reply_to(ask, got, url)
        if not asked.is_whole:
            self._learn(got)
        return reply

    def _learn(self, got: Got) -> None:
        """Look whether a range came. Caches may send the whole once, while they fill; twice in a row is a habit."""
        self._ignored = self._ignored + 1 if got.status == answers.OK else 0
        never = got.headers.get("accept-ranges", "none") == "none"
        if self._ignored >= (1 if never else _HABIT):
            self.no_ranges = True

    async def _followed(self, url: str, ask: Ask, asked: ByteRange) -> Got:
        """Return the first reply that is no redirect."""
        target, filesystem = url, self.filesystem
        for _ in range(_MAX_REDIRECTS + 1):
            got = await self._get(filesystem, target, ask, asked)
            if not answers.is_redirect(got.status, got.headers):
                return got
            hop, target = target, self.redirect(target, got.headers["location"], ask.source)
            filesystem = await self.redirected(target, hop)
        raise TryError(Verdict(f"more than {_MAX_REDIRECTS} redirects"))

    async def _get(self, filesystem: Any, url: str, ask: Ask, asked: ByteRange) -> Got:
        """Send one request: over the wire where it can be, else with the session of `filesystem`."""
        key = id(filesystem)  # their hash takes its time; the filesystem is kept, so that the number stays its own
        if key not in self._lanes:
            self._lanes[key] = filesystem, _lane(filesystem)
        _, lane = self._lanes[key]
        got = None if lane is None else await lane.get(url, asked, ask)
        return await self._get_by_session(filesystem, url, ask, asked) if got is None else got

    async def _get_by_session(self, filesystem: Any, url: str, ask: Ask, asked: ByteRange) -> Got:
        session = await filesystem.set_session()
        options = {**filesystem.kwargs, "allow_redirects": False}
        options["headers"] = _headers(options.get("headers"), asked)
        response = cast("aiohttp.ClientResponse", await session.get(_wire_url(filesystem, url), **options))
        try:
            got = Got(response.status, response.headers, b"", session.auto_decompress)
            take = answers.take_of(got, response.content_length, ask)
            if take.keep is not None:
                return got._replace(data=await response.content.read(take.keep))
            if take.waits:
                await ask.expect(response.content_length)
            return got._replace(data=await _body(response, take.most, self.stall_s))
        finally:
            response.release()

    def redirect(self, url: str, location: str, source: str | None) -> str:
        """Return the URL that a redirect leads to, where it may."""
        target = urljoin(url, quote(location, safe=_URL_PUNCTUATION, errors="surrogateescape")).partition("#")[0]
        shown = urls.redact(target)
        if urls.scheme(target) not in ("http", "https"):
            raise UrlPolicyError(
                f"{urls.redact(url)} redirects to {shown!r}; only http and https are followed.",
                url=urls.redact(url), value=shown,
            )  # fmt: skip
        if urls.scheme(url) == "https" and urls.scheme(target) == "http":
            raise UrlPolicyError(
                f"{urls.redact(url)} redirects to {shown!r}, which is not encrypted.",
                url=urls.redact(url), value=shown,
            )  # fmt: skip
        self.policy.check(target, url)
        if source is not None and not urls.is_local(source):
            self.policy.check(target, source)
        return target


def _lane(filesystem: Any) -> HttpLane | None:
    """Return how to read from `filesystem` over the wire; None where its session is the user's."""
    session = filesystem.get_client
    return http_lane(filesystem, session.client) if isinstance(session, Session) else None


def _headers(given: Any, asked: ByteRange) -> "Mapping[str, str]":
    from multidict import CIMultiDict

    headers: CIMultiDict[str] = CIMultiDict(given or {})
    headers["Accept-Encoding"] = "identity"  # a range of compressed bytes is of no use
    if asked.is_whole:
        headers.pop("Range", None)
    else:
        headers["Range"] = replies.range_header(asked)
    return headers


def _wire_url(filesystem: Any, url: str) -> Any:
    """Return the yarl URL to send: byte for byte where it can be, since signatures cover the bytes."""
    from yarl import URL

    text = urls.http_url(url)
    if text.isascii() and text.isprintable() and " " not in text:
        return URL(text, encoded=True)
    return filesystem.encode_url(text)


async def _body(response: "aiohttp.ClientResponse", cap: int | None, stall_s: float) -> bytes:
    """Return the body, of at most `cap` bytes, that comes at more than a trickle."""
    parts: list[bytes] = []
    size = counted = 0
    since = time.monotonic()
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if cap is not None:
            replies.check_size(size, cap)
        elapsed = time.monotonic() - since
        if elapsed >= stall_s:
            if size - counted < _SLOWEST_BYTES_PER_S * elapsed:
                raise TimeoutError(f"{size - counted} bytes came in {elapsed:.1f} s")
            since, counted = since + elapsed, size
    return parts[0] if len(parts) == 1 else b"".join(parts)
