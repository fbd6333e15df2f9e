"""Reading from async filesystems other than http (s3fs, gcsfs, adlfs, …)."""

import asyncio
from collections.abc import Awaitable
from contextlib import nullcontext
from typing import Any, TypeVar

from slicedfs.ranges import ByteRange
from slicedfs.store import replies
from slicedfs.store.blocking import checked
from slicedfs.store.failures import status_of
from slicedfs.store.options import Ask, Reply
from slicedfs.store.retry import TryError, Verdict
from slicedfs.store.wire import answers
from slicedfs.store.wire.s3 import S3Lanes

__all__ = ["is_plain_gcs", "read_any", "read_gcs", "read_s3"]

_OK, _PARTIAL, _PAST_END = 200, 206, 416
T = TypeVar("T")

_SLOWEST_BYTES_PER_S = 64 << 10


async def read_any(filesystem: Any, path: str, ask: Ask, try_s: float) -> Reply:
    """Read what is asked of `path` by ``_cat_file``, at most about `try_s` seconds; one try."""
    want = ask.want
    if want.is_whole:
        data = bytes(await _within(filesystem._cat_file(path), try_s, None))
        replies.check_size(len(data), ask.limit)
        return Reply(data, len(data), None)
    try:
        call = filesystem._cat_file(path, start=want.start, end=want.stop)
        data = bytes(await _within(call, try_s, want))
    except Exception as error:
        if want.start > 0 or status_of(error)[0] != _PAST_END:
            raise
        data = b""  # stores have no ranges of empty objects
    if want.stop is not None and len(data) == want.stop - want.start:
        return Reply(data, None, None)
    size = (await _within(filesystem._info(path), try_s, want)).get("size")
    return Reply(checked(data, want, size), size, None)


async def _within(call: Awaitable[T], try_s: float, want: ByteRange | None) -> T:
    """Await `call`, for `try_s` seconds and what the bytes of `want` take on a slow line."""
    size = 0 if want is None or want.stop is None else want.stop - want.start
    async with asyncio.timeout(try_s + size / _SLOWEST_BYTES_PER_S):
        return await call


async def read_s3(filesystem: Any, path: str, ask: Ask, try_s: float, lanes: S3Lanes | None = None) -> Reply:
    """Read what is asked of ``bucket/key`` by s3fs' get_object, whose reply says what it holds; one try.

    ``_cat_file`` would ask for the size of a whole object first, and drop the ETag and the range. `lanes` are the ways
    around s3fs, where there are any.
    """

    async def exchange(asked: ByteRange) -> Reply:
        got = None if lanes is None else await lanes.get(path, asked, ask)
        if got is not None:
            return answers.reply_to(ask, got, path)
        bucket, key, _ = filesystem.split_path(path)
        await filesystem.set_session()
        with nullcontext() if lanes is None else lanes.learning(bucket, key):
            raw = await _s3_raw(filesystem, path, asked, ask, try_s)
        return replies.taken(raw, ask.want, limit=ask.limit, name=path)

    try:
        return await replies.or_whole(exchange, ask.want)
    except OSError as error:
        if ask.want.start == 0 and _s3_size(error) == "0":
            return Reply(b"", 0, None)
        raise


async def _s3_raw(filesystem: Any, path: str, asked: ByteRange, ask: Ask, try_s: float) -> replies.Raw:
    bucket, key, version = filesystem.split_path(path)
    options = {} if asked.is_whole else {"Range": replies.range_header(asked)}
    if version:
        options["VersionId"] = version
    call = filesystem._call_s3("get_object", Bucket=bucket, Key=key, **options)
    response = await _within(call, try_s, None)
    status, size = response["ResponseMetadata"]["HTTPStatusCode"], response.get("ContentLength")
    body = response["Body"]
    try:
        if status == _OK:
            replies.check_size(size, replies.fallback_limit(ask.want, ask.limit))
            await ask.expect(size)
        data = bytes(await _within(body.read(), try_s, ask.want if status == _PARTIAL else ByteRange(0, size)))
    finally:
        body.close()
    if size is not None and len(data) != size:
        raise TryError(Verdict(f"the reply has {len(data)} bytes and promised {size}", again=True))
    told = replies.content_range(response.get("ContentRange"))
    return replies.Raw(status, data, told, _encoding(response.get("ContentEncoding")), response.get("ETag"))


def _s3_size(error: BaseException) -> str:
    """Return the size that an InvalidRange error states (S3 API reference, error responses); "" where none."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("ActualObjectSize", ""))


def is_plain_gcs(filesystem: Any) -> bool:
    """Say whether `filesystem` reads over GCS' JSON API with gcsfs' own retry, which can then be left out."""
    kind = type(filesystem)
    return kind._cat_file.__module__ == "gcsfs.core" and hasattr(kind._request, "__wrapped__")


async def read_gcs(filesystem: Any, path: str, ask: Ask, try_s: float) -> Reply:
    """Read what is asked of ``bucket/key`` by one request of gcsfs, without its six tries (33 s); one try."""
    once = type(filesystem)._request.__wrapped__

    async def exchange(asked: ByteRange) -> Reply:
        # What is stored compressed comes whole and decompressed then (GCS, "Transcoding of gzip-compressed files").
        headers = {"Accept-Encoding": "identity"}
        if not asked.is_whole:
            headers["Range"] = replies.range_header(asked)
        call = once(filesystem, "GET", filesystem.url(path), headers=headers)
        status, told, _, data = await _within(call, try_s, ask.want)
        if status == _PARTIAL and _encoding(told.get("Content-Encoding")):
            raise replies.EncodingError("the reply to a range is encoded")  # and gcsfs' session has decoded it
        etag = told.get("x-goog-generation") or told.get("ETag")
        raw = replies.Raw(status, bytes(data), replies.content_range(told.get("Content-Range")), "", etag)
        replies.check_size(len(raw.data), replies.fallback_limit(ask.want, ask.limit) if status == _OK else None)
        return replies.taken(raw, ask.want, limit=ask.limit, name=path)

    try:
        return await replies.or_whole(exchange, ask.want)
    except Exception as error:
        if ask.want.start > 0 or status_of(error)[0] != _PAST_END:
            raise
        return Reply(b"", 0, None)


def _encoding(header: str | None) -> str:
    """Return a Content-Encoding as :class:`slicedfs.store.replies.Raw` has it."""
    text = (header or "").replace("aws-chunked", "").strip(" ,").lower()
    return "" if text == "identity" else text
