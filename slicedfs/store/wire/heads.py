"""The head of a reply of HTTP/1.x: status, headers, and where the body ends. Pure.

RFC 9112: sections 2.2 (lines), 4 (status line), 5 (fields), 6.3 (length of a body), 9.3 (persistence).
"""

import re
from typing import NamedTuple

from slicedfs.store.retry import TryError, Verdict

__all__ = ["MAX_HEAD_BYTES", "Head", "not_http", "parse", "split"]

MAX_HEAD_BYTES = 64 << 10
_MAX_LINES = 256
_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n\0]*)?\r?\n")
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD = re.compile(rf"({_NAME}):[ \t]*([^\r\n\0]*?)[ \t]*\r?\n")
_FIELDS = re.compile(rf"(?:{_NAME}:[^\r\n\0]*\r?\n)*")
_DIGITS = re.compile(r"[0-9]{1,18}")
_NO_BODY = frozenset({204, 304})


class Head(NamedTuple):
    """What comes before the body."""

    status: int
    """HTTP status, 100 to 599."""
    headers: dict[str, str]
    """By name in lower case; a field that comes twice is joined by ", "."""
    length: int | None
    """Bytes of the body; None where chunks or the end of the connection tell."""
    chunked: bool
    """The body comes in chunks."""
    keeps: bool
    """The connection may carry another request, once the body has come."""


def not_http(problem: str) -> TryError:
    """Return the failure of a reply that breaks the protocol; another try may get a better one."""
    return TryError(Verdict(f"not HTTP: {problem}", again=True))


def split(data: bytes | bytearray | memoryview, searched: int = 0) -> int:
    """Return where the head at the start of `data` ends, 0 where it does not yet; `searched` bytes were looked at.

    Raises
    ------
    TryError
        It is longer than 64 KiB.
    """
    match = _END.search(data, max(0, searched - 3))
    end = match.end() if match else len(data)
    if end > MAX_HEAD_BYTES:
        raise not_http(f"the head of the reply is longer than {MAX_HEAD_BYTES} bytes")
    return end if match else 0


def parse(data: bytes) -> Head:
    """Parse a head, its empty line included.

    Raises
    ------
    TryError
        It is malformed, or the length of the body cannot be told.
    """
    text = data.decode("utf-8", "surrogateescape")  # as aiohttp does; most that is not ASCII is that
    line = _STATUS_LINE.match(text)
    if line is None:
        raise not_http(f"the reply begins with {text[:40]!r}")
    minor, status = line.groups()
    headers: dict[str, str] = {}
    for name, value in _fields(text, line.end()):
        key = name.lower()
        headers[key] = f"{headers[key]}, {value}" if key in headers else value
    return _framed(int(status), headers, is_old=minor == "0")


def _fields(text: str, start: int) -> list[tuple[str, str]]:
    """Return (name, value) of every field; folded lines, which are obsolete, are refused like any other garbage."""
    match = _FIELDS.match(text, start)
    end = start if match is None else match.end()
    if not text.startswith(("\n", "\r\n"), end):
        raise not_http(f"a header is {text[end : end + 40]!r}")
    fields: list[tuple[str, str]] = _FIELD.findall(text, start, end)
    if len(fields) > _MAX_LINES:
        raise not_http(f"the reply has more than {_MAX_LINES} headers")
    return fields


def _framed(status: int, headers: dict[str, str], *, is_old: bool) -> Head:
    options = headers.get("connection", "").lower()
    keeps = "close" not in options and (not is_old or "keep-alive" in options)
    coding = headers.get("transfer-encoding")
    if status in _NO_BODY or status < 200:  # noqa: PLR2004 - 1xx, RFC 9110, section 15.2
        return Head(status, headers, 0, chunked=False, keeps=keeps)
    length = _length(headers.get("content-length"))
    if coding is None:
        return Head(status, headers, length, chunked=False, keeps=keeps and length is not None)
    if coding.lower() != "chunked":
        raise not_http(f"Transfer-Encoding is {coding!r}, only 'chunked' was to be expected")
    # With both, something on the way may see another end of the body: the connection is not used again.
    return Head(status, headers, None, chunked=True, keeps=keeps and length is None and not is_old)


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    given = {part.strip() for part in text.split(",")}  # sent twice, it may say the same twice
    if len(given) != 1 or not _DIGITS.fullmatch(value := given.pop()):
        raise not_http(f"Content-Length is {text!r}")
    return int(value)
