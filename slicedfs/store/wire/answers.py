"""What of a reply to take and what it means, whichever client brings it: aiohttp's or the wire's."""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from slicedfs.ranges import ByteRange
from slicedfs.store import replies
from slicedfs.store.failures import verdict_of_status
from slicedfs.store.options import Ask, Reply
from slicedfs.store.replies import EncodingError
from slicedfs.store.retry import TryError
from slicedfs.store.wire.connection import Take

__all__ = ["OK", "PARTIAL", "PAST_END", "Got", "is_redirect", "past_end", "reply_to", "retry_after_s", "take_of"]

OK, PARTIAL, PAST_END = 200, 206, 416
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PEEK = 2048
_PART_FACTOR, _PART_EXTRA = 4, 1 << 20


class Got(NamedTuple):
    """A reply, with as much of its body as :func:`take_of` said."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers; found by their names in lower case."""
    data: bytes | bytearray | memoryview
    """Body."""
    decodes: bool = False
    """The client has undone Content-Encoding by itself."""


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Say whether a reply leads elsewhere."""
    return status in _REDIRECTS and "location" in headers


def take_of(head: Got, length: int | None, ask: Ask) -> Take:
    """Return how much to take of the body behind `head`, whose length is `length` bytes where it is known.

    Raises
    ------
    TryError
        It is too large.
    EncodingError
        It is a part of an encoded body, and the client would take it for a whole.
    """
    if is_redirect(head.status, head.headers):
        return Take(keep=0)
    if head.status not in (OK, PARTIAL):  # object stores say there what is wrong
        return Take(keep=_PEEK)
    is_part = head.status == PARTIAL
    if is_part and head.decodes and _encoding(head.headers):
        raise EncodingError("the reply to a range is encoded")
    most = _part_limit(ask.want) if is_part else replies.fallback_limit(ask.want, ask.limit)
    replies.check_size(length, most)
    return Take(most, waits=not is_part)


def reply_to(ask: Ask, got: Got, name: str) -> Reply:
    """Return what was asked for out of what came; `name` is the object's.

    Raises
    ------
    TryError
        It is something else: an error status, another range.
    EncodingError
        The whole object is needed.
    """
    headers = got.headers
    if got.status == PAST_END:
        return past_end(ask.want, headers.get("content-range"), headers.get("etag"))
    if got.status not in (OK, PARTIAL):
        wait_s = retry_after_s(headers.get("retry-after"))
        raise TryError(verdict_of_status(got.status, detail=replies.error_code(got.data), wait_s=wait_s))
    told = replies.content_range(headers.get("content-range"))
    etag = headers.get("etag") or headers.get("last-modified")
    raw = replies.Raw(got.status, got.data, told, "" if got.decodes else _encoding(headers), etag)
    return replies.taken(raw, ask.want, limit=ask.limit, name=name)


def past_end(want: ByteRange, told: str | None, etag: str | None) -> Reply:
    """Return the empty object, of which no range can be had.

    `told` is the Content-Range of a reply with status 416: ``bytes */size`` (RFC 9110, section 15.5.17).

    Raises
    ------
    TryError
        The object is not empty, or the range does not start with it.
    """
    text = (told or "").rpartition("/")[2]
    size = int(text) if text.isdigit() else None
    if want.start > 0 or size != 0:
        raise replies.past_end(want, size)
    return Reply(b"", 0, etag)


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


def _part_limit(want: ByteRange) -> int | None:
    """Return how many bytes may come for a range: a little more than asked for is cut off, endless replies are not."""
    return None if want.stop is None else _PART_FACTOR * (want.stop - want.start) + _PART_EXTRA


def _encoding(headers: Mapping[str, str]) -> str:
    """Return the Content-Encoding that is to be undone; "aws-chunked" only tells how an object was uploaded."""
    encoding = headers.get("content-encoding", "").lower().replace("aws-chunked", "").strip(" ,")
    return "" if encoding == "identity" else encoding
