"""Checks that a reply holds the bytes that were asked for. Pure.

Servers answer a range with the whole object, with another range or with less (caches, static hosts, emulators
and broken connections all do), and fsspec hands back whatever came.
"""

import re
import zlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar, cast

from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store.failures import verdict_of_status
from slicedfs.store.options import Reply
from slicedfs.store.retry import TryError, Verdict

__all__ = [
    "ContentRange",
    "Data",
    "EncodingError",
    "Raw",
    "check_size",
    "check_start",
    "content_range",
    "cut",
    "decoded",
    "error_code",
    "fallback_limit",
    "or_whole",
    "partial",
    "past_end",
    "range_header",
    "taken",
]

Data = bytes | bytearray | memoryview
"""Bytes as they come; a memoryview is one of unsigned bytes."""
D = TypeVar("D", bound=Data)
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*", re.IGNORECASE)
_PAGE_NAME = re.compile(r"\.html?(?:[?#]|$)", re.IGNORECASE)
_ZLIB_WBITS = {"gzip": 31, "x-gzip": 31, "deflate": 47}  # RFC 9110 8.4.1; 47: zlib or gzip, by its header

_OK, _PARTIAL = 200, 206
_FALLBACK_FACTOR, _FALLBACK_BYTES = 4, 256 << 20
_PEEK = 2048


class EncodingError(Exception):
    """An encoded body cannot be decoded to what was asked for."""


class ContentRange(NamedTuple):
    """The header of that name (RFC 9110, section 14.4)."""

    start: int
    """First byte."""
    stop: int
    """One past the last byte."""
    size: int | None
    """Size of the whole object; None where the server does not tell ("*")."""


class Raw(NamedTuple):
    """What a server answered over HTTP, whatever the client."""

    status: int
    """HTTP status, below 300."""
    data: Data
    """The body."""
    told: ContentRange | None
    """What it says about the body."""
    encoding: str
    """Content-Encoding that is still to be undone, lower-case; "" where there is none."""
    etag: str | None
    """ETag, generation or date of the object."""


async def or_whole(exchange: Callable[[ByteRange], Awaitable[Reply]], asked: ByteRange) -> Reply:
    """Await ``exchange(asked)``; where that gives a range of encoded bytes, ask for the whole, which can be decoded.

    Raises
    ------
    TryError
        The whole cannot be decoded either.
    """
    for span in (asked, WHOLE):
        try:
            return await exchange(span)
        except EncodingError as error:
            problem = str(error)
        if span.is_whole:
            break
    raise TryError(Verdict(problem, again=True))


def taken(raw: Raw, want: ByteRange, *, limit: int | None, name: str) -> Reply:
    """Return what is wanted out of what a server answered.

    `limit` bounds whole bodies, decoded; `name` is the object's, or its URL: a web page may be what is wanted.

    Raises
    ------
    TryError
        It is something else.
    EncodingError
        It is a part of an encoded body: the whole is needed.
    """
    if raw.status == _PARTIAL and not raw.encoding:
        data = partial(want, raw.data, raw.told)
        return Reply(data, None if raw.told is None else raw.told.size, raw.etag)
    if raw.status == _PARTIAL:
        return Reply(_decoded_part(raw, want), None, raw.etag)
    if raw.status != _OK:
        raise TryError(verdict_of_status(raw.status))
    data = decoded(raw.data, raw.encoding, fallback_limit(want, limit))
    _refuse_page(data, name)
    return Reply(cut(want, data), len(data), raw.etag)


def fallback_limit(want: ByteRange, limit: int | None) -> int | None:
    """Return how large a whole body may be, which for a range comes in its place.

    Some static hosts know no ranges; their tiles are read whole. Pulling gigabytes for a header is refused.
    """
    if want.is_whole or limit is not None:
        return limit
    wanted = 0 if want.stop is None else want.stop - want.start
    return max(_FALLBACK_FACTOR * wanted, _FALLBACK_BYTES)


def range_header(want: ByteRange) -> str:
    """Return the Range header for `want` (RFC 9110, section 14.1.2; last byte inclusive)."""
    return f"bytes={want.start}-" if want.stop is None else f"bytes={want.start}-{want.stop - 1}"


def content_range(text: str | None) -> ContentRange | None:
    """Parse a Content-Range header; None where there is none, or none that can be read."""
    match = _CONTENT_RANGE.fullmatch(text or "")
    if match is None:
        return None
    first, last, size = match.groups()
    return ContentRange(int(first), int(last) + 1, None if size == "*" else int(size))


def partial(want: ByteRange, data: D, told: ContentRange | None) -> D:
    """Return the bytes of a partial reply that were asked for.

    Fewer only where the object ends inside the range and the server says so; more are cut off. Without a
    Content-Range the length must be right.

    Raises
    ------
    TryError
        Worth another try: wrong range, wrong length.
    """
    length = None if want.stop is None else want.stop - want.start
    if told is None:
        if length is None or len(data) != length:
            raise _wrong(f"the reply has {len(data)} bytes and does not say which, {length} were asked for")
        return data
    if told.size is not None:
        check_start(want, told.size)  # some send an empty reply
    if told.start != want.start:
        raise _wrong(f"the reply starts at byte {told.start} instead of {want.start}")
    if len(data) != told.stop - told.start:
        raise _wrong(f"the reply has {len(data)} bytes and promised {told.stop - told.start}")
    at_end = told.stop == told.size
    if length is None:
        if told.size is not None and not at_end:
            raise _wrong(f"the reply stops at byte {told.stop} of {told.size}")
        return data
    if len(data) < length and not at_end:
        raise _wrong(f"the reply has {len(data)} bytes, {length} were asked for")
    return data if len(data) <= length else cast("D", data[:length])


def cut(want: ByteRange, data: D) -> D:
    """Return the part `want` of the whole object `data`.

    Raises
    ------
    TryError
        As :func:`check_start`.
    """
    check_start(want, len(data))
    return data if want.is_whole else cast("D", data[want.start : want.stop])


def check_start(want: ByteRange, size: int) -> None:
    """Refuse a range that starts past the end of an object of `size` bytes; byte 0 of nothing is its end.

    Raises
    ------
    TryError
        It does; final, status 416.
    """
    if want.start >= size and want.start > 0:
        raise past_end(want, size)


def past_end(want: ByteRange, size: int | None) -> TryError:
    """Return the failure of a range that starts past the end; `size` None: unknown."""
    of_size = "" if size is None else f" of {size} bytes"
    return TryError(Verdict(f"byte {want.start} is past the end{of_size}", status=416))


def check_size(size: int | None, limit: int | None) -> None:
    """Refuse a body of `size` bytes where `limit` is less; None: unknown, or no limit."""
    if size is not None and limit is not None and size > limit:
        raise TryError(Verdict(f"it has {size} bytes, more than the {limit} that are allowed"))


def decoded(data: Data, encoding: str, limit: int | None) -> Data:
    """Decode a body with Content-Encoding `encoding` (gzip, deflate or identity), to at most `limit` bytes.

    Raises
    ------
    EncodingError
        Another encoding, or bytes that are not (all of) what they should be.
    TryError
        More than `limit` bytes.
    """
    if encoding in ("", "identity"):
        return data
    if encoding not in _ZLIB_WBITS:
        raise EncodingError(f"Content-Encoding {encoding!r} is not one that can be decoded (gzip, deflate)")
    parts: list[bytes] = []
    size = 0
    while data:  # a gzip file may have several members (RFC 1952, section 2.2)
        decoder = zlib.decompressobj(_ZLIB_WBITS[encoding])
        try:
            part = decoder.decompress(data, 0 if limit is None else limit - size + 1)
        except zlib.error as error:
            raise EncodingError(f"the {encoding} body cannot be decoded: {error}") from None
        size += len(part)
        check_size(size, limit)
        parts.append(part)
        if not decoder.eof:
            raise EncodingError(f"the {encoding} body is cut off")
        data = decoder.unused_data
    return b"".join(parts)


def error_code(data: Data) -> str:
    """Return the <Code> of an error document of S3 or Azure; "" where there is none."""
    code = bytes(data[:_PEEK]).partition(b"<Code>")[2].partition(b"</Code>")[0].decode("ascii", "replace")
    return code if code.isalnum() else ""


def _refuse_page(data: Data, name: str) -> None:
    """Refuse a page that a login portal or a proxy sent in place of the object, with status 200."""
    start = bytes(data[:_PEEK]).lstrip().lower()
    if not start.startswith(b"<"):
        return
    if start.startswith((b"<!doctype html", b"<html")) and not _PAGE_NAME.search(name):
        quoted = " ".join(bytes(data[:80]).decode("utf-8", "replace").split())
        raise TryError(Verdict(f"the server sent a web page ({quoted!r})"))
    code = error_code(data) if b"<error>" in start else ""
    if code:  # S3 can fail after it has sent status 200 (API reference, CopyObject)
        raise TryError(verdict_of_status(_OK, detail=code))


def _decoded_part(raw: Raw, want: ByteRange) -> Data:
    """Decode a partial reply: some servers encode the part, others cut a part out of the encoded bytes."""
    wanted = None if want.stop is None else want.stop - want.start
    try:
        data = decoded(raw.data, raw.encoding, wanted)
    except TryError as error:
        raise EncodingError(str(error)) from None
    if len(data) != wanted or raw.told is None or raw.told.start != want.start:
        raise EncodingError("the range was cut out of an encoded body")
    return data


def _wrong(text: str) -> TryError:
    return TryError(Verdict(text, again=True))
