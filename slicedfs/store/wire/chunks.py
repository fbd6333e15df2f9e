"""Takes the chunks of a body apart (RFC 9112, section 7.1). Pure."""

import re
from collections.abc import Callable
from typing import Literal

from slicedfs.store.wire.heads import not_http

__all__ = ["Chunks"]

_MAX_LINE_BYTES = 4096
_MAX_TRAILER_BYTES = 16 << 10
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n\0]*)?")

_State = Literal["size", "data", "end of data", "trailer", "done"]


class Chunks:
    """A body that comes in chunks, fed as it comes.

    Parameters
    ----------
    check
        Called with the size of the body so far and the chunk that is announced; raises where that is too much.
    """

    __slots__ = ("_check", "_left", "_line", "_state", "_trailer_bytes", "body")

    def __init__(self, check: Callable[[int], None]) -> None:
        self.body = bytearray()
        """What has come, without the framing."""
        self._check = check
        self._state: _State = "size"
        self._line = b""
        self._left = self._trailer_bytes = 0

    def feed(self, data: memoryview) -> int | None:
        """Take `data`; return how many bytes of it are past the end, None while the end has not come.

        Raises
        ------
        TryError
            It is malformed, or `check` refuses its size.
        """
        while data and self._state != "done":
            data = self._data(data) if self._state == "data" else self._text(data)
        return len(data) if self._state == "done" else None

    def _data(self, data: memoryview) -> memoryview:
        part = data[: self._left]
        self.body += part
        self._left -= len(part)
        if not self._left:
            self._state = "end of data"
        return data[len(part) :]

    def _text(self, data: memoryview) -> memoryview:
        piece = bytes(data[:_MAX_LINE_BYTES])
        end = piece.find(b"\n")
        taken = len(piece) if end < 0 else end + 1
        self._line += piece[:taken]
        if len(self._line) > _MAX_LINE_BYTES:
            raise not_http(f"a line between chunks is longer than {_MAX_LINE_BYTES} bytes")
        if end >= 0:
            line, self._line = self._line[:-1].removesuffix(b"\r"), b""
            self._state = self._after(line)
        return data[taken:]

    def _after(self, line: bytes) -> _State:
        """Return the state after `line`."""
        if self._state == "end of data":
            if line:
                raise not_http(f"a chunk is followed by {line[:40]!r}")
            return "size"
        if self._state == "trailer":
            self._trailer_bytes += len(line)
            if self._trailer_bytes > _MAX_TRAILER_BYTES:
                raise not_http(f"the trailer is longer than {_MAX_TRAILER_BYTES} bytes")
            return "trailer" if line else "done"
        match = _SIZE.fullmatch(line)
        if match is None:
            raise not_http(f"the size of a chunk is {line[:40]!r}")
        self._left = int(match[1], 16)
        self._check(len(self.body) + self._left)
        return "data" if self._left else "trailer"
