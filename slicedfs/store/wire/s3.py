"""S3 over the wire: s3fs shows once how a bucket is reached, then its objects are asked for without it.

s3fs spends about a millisecond on a request. The first request to a bucket goes through it, so that its search for
credentials, endpoint, addressing style and region counts; what its client then really sent says how to go on. All that
is out of the ordinary goes through it too: other options, headers that are not known here, refusals, redirects.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from slicedfs.ranges import ByteRange
from slicedfs.store.options import Ask
from slicedfs.store.replies import error_code, range_header
from slicedfs.store.retry import RETRY_STATUSES
from slicedfs.store.wire.answers import OK, PARTIAL, PAST_END, Got, take_of
from slicedfs.store.wire.client import Client, client_of, request_bytes
from slicedfs.store.wire.connection import Take
from slicedfs.store.wire.heads import Head
from slicedfs.store.wire.http import agent, field_lines
from slicedfs.store.wire.pool import Origin
from slicedfs.store.wire.sigv4 import Keys, signed_fields, uri_encoded

__all__ = ["S3Lanes", "is_plain_s3"]

_SESSION = frozenset({"profile"})
_CLIENT = frozenset({
    "region_name", "endpoint_url", "use_ssl", "aws_access_key_id", "aws_secret_access_key", "aws_session_token",
})  # fmt: skip
_CONFIG = frozenset({
    "connect_timeout", "read_timeout", "retries", "max_pool_connections", "region_name", "s3", "signature_version",
    "user_agent", "user_agent_extra", "tcp_keepalive",
})  # fmt: skip
_HEADERS = frozenset({
    "range", "user-agent", "host", "authorization", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token",
    "x-amz-checksum-mode", "amz-sdk-invocation-id", "amz-sdk-request", "x-amz-user-agent", "content-length",
})  # fmt: skip
"""Headers of a plain GET, none of which changes what comes."""
_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/,]+/[0-9]{8}/([a-z0-9-]+)/s3/aws4_request,.*", re.DOTALL)
_SIZE = re.compile(rb"<ActualObjectSize>([0-9]{1,18})</ActualObjectSize>")
_MISSING = 404
_NO_OBJECT = frozenset({"", "NoSuchKey", "NoSuchVersion"})
_MOST_FAILURES = 3
_DEFAULT_PORTS = {"http": 80, "https": 443}

_sent: ContextVar[list[Any] | None] = ContextVar("slicedfs_sent_to_s3", default=None)


class _Lane(NamedTuple):
    """How the objects of a bucket are reached."""

    client: Any
    """The client of aiobotocore that showed it."""
    origin: Origin
    host: str
    """The Host header."""
    prefix: str
    """What comes before the key in the path of a URL."""
    region: str | None
    """Where requests are signed for; None: they are not signed."""


def is_plain_s3(filesystem: Any) -> bool:
    """Say whether `filesystem`, made by us, has options that concern nothing but who asks and where."""
    kind = type(filesystem)
    return (
        (kind.__module__, kind.__name__) == ("s3fs.core", "S3FileSystem")
        and not filesystem.requester_pays
        and not filesystem.s3_additional_kwargs
        and not filesystem.cache_regions
        and getattr(filesystem, "_session_is_owned", True)
        and filesystem.kwargs.keys() <= _SESSION
        and filesystem.client_kwargs.keys() <= _CLIENT
        and filesystem.config_kwargs.keys() <= _CONFIG
    )


class S3Lanes:
    """GET requests to the buckets of one S3FileSystem, which :func:`is_plain_s3` finds plain.

    Parameters
    ----------
    filesystem
        Shows how each bucket is reached.
    stall_s
        Seconds without a byte after which a read fails.
    """

    def __init__(self, filesystem: Any, stall_s: float) -> None:
        self._filesystem, self._stall_s = filesystem, stall_s
        self._lanes: dict[str, _Lane] = {}
        self._failures: dict[str, int] = {}

    async def get(self, path: str, asked: ByteRange, ask: Ask) -> Got | None:
        """Send one GET for the bytes `asked` of ``bucket/key``; None: s3fs is to do it.

        Raises
        ------
        Exception
            As :meth:`slicedfs.store.wire.pool.Pool.get`; what :func:`take_of` raises.
        """
        bucket, key, version = self._filesystem.split_path(path)
        lane = self._lanes.get(bucket)
        if lane is None:
            return None
        if lane.client is not self._filesystem._s3:  # made anew, perhaps for others
            self._lanes.clear()
            return None
        target = lane.prefix + uri_encoded(key, "/")
        if version:
            target += f"?versionId={uri_encoded(version)}"
        fields = await _fields(lane, target, asked)
        if fields is None:
            return None
        try:
            got = await self._exchange(lane, request_bytes(target, fields), ask)
        except ssl.SSLError:  # botocore brings other certificates than the system has
            self._give_up(bucket, _MOST_FAILURES)
            return None
        understood = _understood(got)
        if understood is None:
            self._give_up(bucket, 1)
        return understood

    @contextmanager
    def learning(self, bucket: str, key: str) -> Iterator[None]:
        """Look at the request that s3fs sends inside, for `key` in `bucket`; one that works shows the way."""
        client = getattr(self._filesystem, "_s3", None)
        if client is None or bucket in self._lanes or self._failures.get(bucket, 0) >= _MOST_FAILURES:
            yield
            return
        client.meta.events.register("before-send.s3.GetObject", _note, unique_id="slicedfs")
        token = _sent.set([])
        try:
            yield
            requests = _sent.get()
        finally:
            _sent.reset(token)
        lane = _lane(client, requests[-1], key) if requests else None
        if lane is None:
            self._give_up(bucket, _MOST_FAILURES)
        else:
            self._lanes[bucket] = lane

    async def _exchange(self, lane: _Lane, request: bytes, ask: Ask) -> Got:
        def decide(head: Head) -> Take:
            return take_of(Got(head.status, head.headers, b""), head.length, ask)

        async def room(head: Head) -> None:
            await ask.expect(head.length)

        client = client_of(self._filesystem, lambda: Client(self._stall_s))
        head, data = await client.get(lane.origin, request, decide, room)
        return Got(head.status, head.headers, data)

    def _give_up(self, bucket: str, failures: int) -> None:
        """Let s3fs show the way to `bucket` anew; after some failures it goes alone."""
        self._lanes.pop(bucket, None)
        self._failures[bucket] = self._failures.get(bucket, 0) + failures


def _note(request: Any, **_: Any) -> None:
    """Take note of a request that aiobotocore sends; a handler of its events."""
    requests = _sent.get()
    if requests is not None:
        requests.append(request)


async def _fields(lane: _Lane, target: str, asked: ByteRange) -> bytes | None:
    """Return the headers of a GET, signed where they have to be; None where there are no credentials any more."""
    fields = {"host": lane.host}
    if not asked.is_whole:
        fields["range"] = range_header(asked)
    rest = f"user-agent: {agent()}\r\naccept-encoding: identity\r\n".encode()
    if lane.region is None:
        return field_lines(fields) + rest
    credentials = lane.client._request_signer._credentials  # no public way leads to them
    if credentials is None:
        return None
    frozen = await credentials.get_frozen_credentials()  # refreshes those that expire
    keys = Keys(frozen.access_key, frozen.secret_key, frozen.token)
    return signed_fields(target, fields, keys, lane.region).encode() + rest


def _understood(got: Got) -> Got | None:
    """Return a reply whose meaning is plain; None where s3fs should look again: redirects, refusals, lost regions."""
    if got.status in (OK, PARTIAL) or got.status in RETRY_STATUSES:
        return got
    if got.status == _MISSING and error_code(got.data) in _NO_OBJECT:
        return got._replace(data=b"")
    if got.status == PAST_END:
        size = _SIZE.search(got.data)
        if "content-range" in got.headers or size is None:
            return got
        return got._replace(headers={**got.headers, "content-range": f"bytes */{size[1].decode()}"})
    return None


def _lane(client: Any, request: Any, key: str) -> _Lane | None:
    """Return the way that `request`, sent for `key`, shows; None where it holds what is not understood."""
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    url = urlsplit(request.url)
    encoded = "/" + uri_encoded(key, "/")
    is_plain = headers.keys() <= _HEADERS and (not url.query or url.query.startswith("versionId="))
    if not is_plain or not url.path.endswith(encoded) or not _is_direct(client, url):
        return None
    region = None
    if "authorization" in headers:
        match = _CREDENTIAL.fullmatch(headers["authorization"])
        if match is None:
            return None
        region = match[1]
    prefix = url.path[: len(url.path) - len(encoded) + 1]
    port = url.port or _DEFAULT_PORTS[url.scheme]
    return _Lane(client, Origin(url.scheme == "https", url.hostname or "", port), _host(url), prefix, region)


def _is_direct(client: Any, url: SplitResult) -> bool:
    """Say whether nothing stands between: no proxy, no certificates of the user's own."""
    session = client._endpoint.http_session  # where aiobotocore keeps what it found in the environment
    proxies = getattr(getattr(session, "_proxy_config", None), "_proxies", {"?": ""})
    verifies = getattr(session, "_verify", None)
    has_own = getattr(session, "_cert_file", "") is not None
    return not proxies and not has_own and (url.scheme == "http" or verifies is True)


def _host(url: SplitResult) -> str:
    name = url.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f"{name}:{url.port}"


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
