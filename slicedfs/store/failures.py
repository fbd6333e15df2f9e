"""What foreign exceptions mean, and what callers get to read: translated once, here, without secrets."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from slicedfs import url as urls
from slicedfs.errors import MissingTileError, SlicedfsError, StoreError
from slicedfs.ranges import ByteRange
from slicedfs.store.retry import RETRY_STATUSES, GaveUpError, TryError, Verdict

__all__ = ["ForeignError", "judge", "secrets", "status_of", "store_error", "verdict_of_status"]

_AGAIN_TYPES = frozenset({
    # aiohttp
    "ClientConnectionError", "ClientPayloadError",
    # botocore, aiobotocore: timeouts, resets, broken bodies and unreadable XML
    "HTTPClientError", "IncompleteReadError", "ResponseParserError", "ConnectionClosedError",
    # azure-core
    "ServiceRequestError", "ServiceResponseError", "IncompleteRead",
    # requests and google-auth, as gcsfs raises them
    "ConnectionError", "Timeout", "ChunkedEncodingError", "ProxyError", "TransportError",
})  # fmt: skip
"""Names, not classes, of exceptions that mean "try again": the libraries stay unimported."""
_NEVER_TYPES = frozenset({
    "ClientSSLError", "ClientConnectorCertificateError", "SSLError", "InvalidURL", "TooManyRedirects",
})  # fmt: skip
_DENIED_TYPES = frozenset({"NoCredentialsError", "PartialCredentialsError", "RefreshError", "DefaultCredentialsError"})
_MISSING_TYPES = (FileNotFoundError, NotADirectoryError)
_AGAIN_CODES = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "ServerBusy"})
_DENIED_STATUSES = frozenset({401, 403, 407})
_MISSING_STATUSES = frozenset({404, 410})
_LONGEST_CHAIN = 6
_SHORTEST_SECRET = 4
_LONGEST_TEXT = 500


class ForeignError(Exception):
    """Stands for a foreign exception: its type and its message with the secrets taken out."""


def verdict_of_status(status: int, *, detail: str = "", wait_s: float | None = None) -> Verdict:
    """Return what an HTTP `status` means; `detail` is an error code that the server gave."""
    text = f"HTTP status {status}" + (f" ({detail})" if detail and detail != str(status) else "")
    return Verdict(
        text,
        again=status in RETRY_STATUSES or detail in _AGAIN_CODES,
        missing=status in _MISSING_STATUSES and detail != "NoSuchBucket",
        status=status,
        wait_s=wait_s,
        denied=status in _DENIED_STATUSES,
    )


def judge(error: Exception) -> Verdict:
    """Return what `error` says about one try; raise it as it is where it is slicedfs' own.

    UrlPolicyError is an OSError too, and no try will make it pass.
    """
    if isinstance(error, TryError):
        return error.verdict
    for link in _chain(error):  # aiohttp wraps what its resolver raises
        if isinstance(link, SlicedfsError):
            raise link
    kinds = _kinds(error)
    if any(_kinds(link) & _NEVER_TYPES for link in _chain(error)):
        return Verdict(_text(error))
    if "ClientResponseError" in kinds and error.__cause__ is not None:
        return Verdict(f"not HTTP: {_text(error)}", again=True)  # aiohttp gives garbage the status 400
    status, code = status_of(error)
    if isinstance(error, _MISSING_TYPES):
        return Verdict(f"HTTP status {status}" if status else "", missing=True, status=status)
    if status is not None and not kinds & _AGAIN_TYPES:
        return verdict_of_status(status, detail=code, wait_s=_retry_after(error))
    return _judge_kind(error, kinds)


def _judge_kind(error: Exception, kinds: set[str]) -> Verdict:
    """Return what an exception without HTTP status says, by its types."""
    text = _text(error)
    if kinds & _DENIED_TYPES or isinstance(error, PermissionError):
        return Verdict(text, denied=True)
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return Verdict("no answer in time" + (f": {text}" if str(error) else ""), again=True)
    again = isinstance(error, ConnectionError) or bool(kinds & _AGAIN_TYPES)
    return Verdict(text, again=again, misused=isinstance(error, (TypeError, ValueError)))


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def store_error(
    gave_up: GaveUpError, url: str, byte_range: ByteRange, *, hint: str = "", hide: Iterable[str] = ()
) -> StoreError:
    """Return the error that callers see, with a redacted cause; raise it outside an ``except`` block.

    Its attributes `status` (HTTP, or None) and `tries` say what happened; `hide` are texts that must not show.
    """
    verdict, shown, hidden = gave_up.verdict, urls.redact(url), tuple(hide)
    tried = _tried(gave_up, byte_range)
    error: StoreError
    if verdict.missing:
        error = MissingTileError(f"{shown}: there is no such file ({tried}).", url=shown)
    else:
        text = _hide(urls.redact_text(verdict.text), hidden)
        error = StoreError(f"{shown}: could not be read: {text} ({tried}).{hint and ' '}{hint}", url=shown)
    error.status, error.tries = verdict.status, gave_up.tries
    if not isinstance(gave_up.cause, TryError):  # that one says no more than the message
        error.__cause__ = _redacted(gave_up.cause, hidden)
    return error


def secrets(options: object) -> Iterator[str]:
    """Yield every text inside `options` that could be a secret: all values, at any depth."""
    if isinstance(options, str):  # "Bearer abc…": the word alone is as secret
        yield from (text for text in {options, *options.split()} if len(text) >= _SHORTEST_SECRET)
    elif isinstance(options, bytes):
        yield from secrets(options.decode(errors="replace"))
    elif isinstance(options, Mapping):
        for value in options.values():
            yield from secrets(value)
    elif isinstance(options, (list, tuple, set, frozenset)):
        for value in options:
            yield from secrets(value)


def _tried(gave_up: GaveUpError, byte_range: ByteRange) -> str:
    """Return what was asked and how often, as "HTTP status 404, bytes 0-99, 1 try"."""
    start, stop = byte_range
    parts = [gave_up.verdict.text] if gave_up.verdict.missing and gave_up.verdict.text else []
    if not byte_range.is_whole:
        parts.append(f"bytes {start}-{'' if stop is None else stop - 1}")
    return ", ".join([*parts, "1 try" if gave_up.tries == 1 else f"{gave_up.tries} tries"])


def _redacted(error: Exception, hidden: tuple[str, ...]) -> ForeignError:
    """Return a stand-in: the original carries URLs, headers and options in its attributes."""
    kind = type(error)
    name = kind.__name__ if kind.__module__ in ("builtins", __name__) else f"{kind.__module__}.{kind.__name__}"
    message = " ".join(_hide(urls.redact_text(str(error)), hidden)[:_LONGEST_TEXT].split())
    cause = ForeignError(f"{name}: {message}")
    return cause.with_traceback(error.__traceback__)


def _hide(text: str, hidden: tuple[str, ...]) -> str:
    for secret in sorted(hidden, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def _text(error: BaseException) -> str:
    message = " ".join(str(error)[:_LONGEST_TEXT].split())
    return f"{type(error).__name__}: {message}".rstrip(".") if message else type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what caused it: fsspec filesystems wrap the library's own exception."""
    current: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def status_of(error: BaseException) -> tuple[int | None, str]:
    """Return (HTTP status or None, error code or "") as aiohttp, botocore, gcsfs and azure-core keep them."""
    for link in _chain(error):
        response: Any = getattr(link, "response", None)
        if isinstance(response, Mapping):  # botocore ClientError
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status, str(response.get("Error", {}).get("Code", ""))
        for name in ("code",) if type(link).__module__.startswith("gcsfs.") else ("status", "status_code"):
            value = getattr(link, name, None)
            if isinstance(value, int) and 400 <= value < 600:  # noqa: PLR2004 - error statuses, RFC 9110 15.5, 15.6
                code = getattr(link, "error_code", None)  # azure-core
                return value, str(getattr(code, "value", code) or "")
    return None, ""


def _retry_after(error: BaseException) -> float | None:
    for link in _chain(error):
        response: Any = getattr(link, "response", None)
        if isinstance(response, Mapping):
            headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            text = str(headers.get("retry-after", ""))
            return float(text) if text.isdigit() else None
    return None
