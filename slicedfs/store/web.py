"""Reading over http and https, on the session of fsspec's HTTPFileSystem.

fsspec's own ``_cat_file`` returns whatever comes: whole objects for ranges, other ranges, short bodies, login
pages. So the request is made here, with the filesystem's session, headers and options.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urljoin

from slicedfs import url as urls
from slicedfs.errors import UrlPolicyError
from slicedfs.policy import UrlPolicy
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import replies
from slicedfs.store.failures import verdict_of_status
from slicedfs.store.options import Ask, Reply
from slicedfs.store.replies import EncodingError
from slicedfs.store.retry import TryError, Verdict

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Session", "Web", "retry_after_s"]

CONNECT_S = 10.0
"""Seconds to connect, TLS included."""
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK, _PARTIAL, _PAST_END = 200, 206, 416
_SLOWEST_BYTES_PER_S = 1024
_PEEK = 2048
_PART_FACTOR, _PART_EXTRA = 4, 1 << 20
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
        response, decodes = await self._request(url, ask.source, asked)
        try:
            if response.status == _PAST_END:
                return _past_end(response, ask.want)
            if response.status not in (_OK, _PARTIAL):
                raise await _refusal(response)
            raw = await self._raw(response, ask, decodes=decodes)
            reply = replies.taken(raw, ask.want, limit=ask.limit, name=url)
        finally:
            response.release()
        if not asked.is_whole and raw.status == _OK and response.headers.get("Accept-Ranges", "none") == "none":
            self.no_ranges = True
        return reply

    async def _raw(self, response: "aiohttp.ClientResponse", ask: Ask, *, decodes: bool) -> replies.Raw:
        """Read the body; `decodes`: the session undoes Content-Encoding by itself."""
        encoding = _encoding(response)
        is_part = response.status == _PARTIAL
        if is_part and decodes and encoding:  # it would take the part for a whole
            raise EncodingError("the reply to a range is encoded")
        cap = _part_limit(ask.want) if is_part else replies.fallback_limit(ask.want, ask.limit)
        replies.check_size(response.content_length, cap)
        if not is_part:
            await ask.expect(response.content_length)
        data = await _body(response, cap, self.stall_s)
        told = replies.content_range(response.headers.get("Content-Range"))
        etag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        return replies.Raw(response.status, data, told, "" if decodes else encoding, etag)

    async def _request(self, url: str, source: str | None, asked: ByteRange) -> tuple["aiohttp.ClientResponse", bool]:
        """Return (the first response that is no redirect, whether its session decodes bodies)."""
        target, filesystem = url, self.filesystem
        for _ in range(_MAX_REDIRECTS + 1):
            session = await filesystem.set_session()
            options = {**filesystem.kwargs, "allow_redirects": False}
            options["headers"] = _headers(options.get("headers"), asked)
            response = cast("aiohttp.ClientResponse", await session.get(_wire_url(filesystem, target), **options))
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                return response, session.auto_decompress
            response.release()
            hop, target = target, self.redirect(target, location, source)
            filesystem = await self.redirected(target, hop)
        raise TryError(Verdict(f"more than {_MAX_REDIRECTS} redirects"))

    def redirect(self, url: str, location: str, source: str | None) -> str:
        """Return the URL that a redirect leads to, where it may."""
        target = urljoin(url, quote(location, safe=_URL_PUNCTUATION)).partition("#")[0]
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


def _part_limit(want: ByteRange) -> int | None:
    """Return how many bytes may come for a range: a little more than asked for is cut off, endless replies are not."""
    return None if want.stop is None else _PART_FACTOR * (want.stop - want.start) + _PART_EXTRA


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


def _encoding(response: "aiohttp.ClientResponse") -> str:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def _past_end(response: "aiohttp.ClientResponse", want: ByteRange) -> Reply:
    """Return the empty object, of which no range can be had; else raise what status 416 means."""
    told = response.headers.get("Content-Range", "").rpartition("/")[2]  # "bytes */size", RFC 9110, section 15.5.17
    size = int(told) if told.isdigit() else None
    if want.start > 0 or size != 0:
        raise replies.past_end(want, size)
    return Reply(b"", 0, response.headers.get("ETag"))


async def _refusal(response: "aiohttp.ClientResponse") -> TryError:
    """Return what an error status means, with the code that object stores put into the body."""
    code = replies.error_code(await response.content.read(_PEEK))
    wait_s = retry_after_s(response.headers.get("Retry-After"))
    return TryError(verdict_of_status(response.status, detail=code, wait_s=wait_s))


def retry_after_s(retry_after: str | None) -> float | None:
    """Parse Retry-After: seconds, or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
