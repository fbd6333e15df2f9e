"""One connection of HTTP/1.1: a request goes out, its reply comes straight into the buffer that is handed back."""

import asyncio
from collections.abc import Callable
from typing import Literal, NamedTuple, cast

from slicedfs.store.replies import check_size
from slicedfs.store.retry import TryError, Verdict
from slicedfs.store.wire.buffers import Buffers
from slicedfs.store.wire.chunks import Chunks
from slicedfs.store.wire.heads import Head, not_http, parse, split

__all__ = ["Answer", "Connection", "Decide", "StaleError", "Take"]

_SLOWEST_BYTES_PER_S = 1024
_SHORT_BYTES = 64 << 10
_TICKS = 8


class Take(NamedTuple):
    """How much of a body to take."""

    most: int | None = None
    """A larger body is refused; None: any size."""
    waits: bool = False
    """Room is asked for before a body is read that has not come with its head."""
    keep: int | None = None
    """Only so many bytes matter, and the rest is left where it is; None: all."""


Decide = Callable[[Head], Take]
"""Says what to take of the body behind a head; raises where that cannot be what was asked for."""


class Answer(NamedTuple):
    """A reply."""

    head: Head
    """Status and headers."""
    body: bytes | bytearray | memoryview
    """The body, or as much of it as matters."""


class StaleError(ConnectionError):
    """A connection that had been used before was closed before a byte of the reply came: that was no try."""


_State = Literal["idle", "head", "gate", "body", "chunks", "rest", "closed"]


class Connection(asyncio.BufferedProtocol):
    """A connection, for one request at a time. Lives on one loop.

    Parameters
    ----------
    scratch
        Where heads arrive, with what comes behind them; may be shared by the connections of a loop.
    buffers
        Gives the memory for bodies.
    freed
        Called once a reply has come and the connection may be used again.
    lost
        Called once it may not.
    """

    def __init__(
        self,
        scratch: memoryview,
        buffers: Buffers,
        freed: Callable[["Connection"], None],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._scratch, self._buffers, self._freed, self._lost = scratch, buffers, freed, lost
        self._transport: asyncio.Transport | None = None
        self._state: _State = "idle"
        self._uses = 0
        self._waiter: asyncio.Future[Answer | None] | None = None
        self._decide: Decide = _all
        self._take = Take()
        self._head: Head | None = None
        self._held = (
            bytearray()
        )  # the beginning of a head, or of a body that waits for room, or a body of unknown length
        self._chunks: Chunks | None = None
        self._buffer = scratch
        self._filled = 0
        self._received = self._seen = self._window_bytes = 0
        self._window_s = 0.0
        self._quiet = self._ticks = 0

    # -- what the pool asks -------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._state == "idle" and self._transport is not None and not self._transport.is_closing()

    @property
    def head(self) -> Head:
        """The head of the reply, once it has come."""
        return cast("Head", self._head)

    def send(self, request: bytes, decide: Decide) -> "asyncio.Future[Answer | None]":
        """Send `request`; return the future reply, or None: then :meth:`go_on` is to be called once there is room."""
        transport = cast("asyncio.Transport", self._transport)
        self._state, self._decide, self._head = "head", decide, None
        self._uses += 1
        self._received = self._seen = self._quiet = self._ticks = 0
        self._window_s = 0.0
        self._waiter = asyncio.get_running_loop().create_future()
        transport.write(request)
        return self._waiter

    def go_on(self) -> "asyncio.Future[Answer | None]":
        """Read the body, now that there is room for it; return the future reply."""
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        if self._state != "gate" or self._head is None:
            self._fail(_cut_off(len(self._held), self._head.length if self._head else None))
            return waiter
        self._quiet, self._window_s = 0, 0.0
        rest, self._held = memoryview(self._held), bytearray()
        if self._transport is not None:
            self._transport.resume_reading()
        self._guarded(self._begin, rest)
        return waiter

    def give_up(self, waiter: "asyncio.Future[Answer | None]") -> None:
        """Close the connection where it still works for `waiter`: nobody waits for its reply."""
        if self._waiter is waiter:
            self._waiter = None
            self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._state != "closed":
            self._state = "closed"
            self._lost(self)
        if self._transport is not None:
            self._transport.abort()

    def tick(self, now_s: float, stall_s: float) -> None:
        """Look whether bytes come; called about eight times in `stall_s`.

        Ticks are counted, not seconds, so that a loop that was kept from working does not take its own delay for
        the server's.
        """
        if self._state == "gate":
            return
        self._quiet = 0 if self._received != self._seen else self._quiet + 1
        self._seen = self._received
        self._ticks += self._received > 0
        if self._quiet > _TICKS:
            self._fail(TimeoutError(f"no byte came in {stall_s:.1f} s"))
        elif self._state == "head":
            if self._ticks > 2 * _TICKS:
                self._fail(TimeoutError(f"the head of the reply did not come in {2 * stall_s:.1f} s"))
        elif not self._window_s:
            self._window_s, self._window_bytes, self._ticks = now_s, self._received, 0
        elif self._ticks > _TICKS:
            elapsed, came = now_s - self._window_s, self._received - self._window_bytes
            self._window_s = 0.0
            if came < _SLOWEST_BYTES_PER_S * elapsed:
                self._fail(TimeoutError(f"{came} bytes came in {elapsed:.1f} s"))

    # -- what the loop calls ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep `transport`."""
        self._transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's interface
        """Return where to receive to."""
        return self._buffer[self._filled :] if self._state == "body" else self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was received."""
        self._received += nbytes
        if self._state == "body":
            self._filled += nbytes
            if self._filled == len(self._buffer):
                self._finish(self._buffer)
        else:
            self._guarded(self._feed, self._scratch[:nbytes])

    def eof_received(self) -> bool:
        """End what waits for the end, and fail what waits for more; the transport closes itself."""
        self._ended(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits for more."""
        self._ended(exc)
        self._transport = None

    # -- a reply ------------------------------------------------------------------------------------------------------

    def _guarded(self, function: Callable[[memoryview], None], data: memoryview) -> None:
        """Call ``function(data)``; what it raises is the answer to who waits, and the end of the connection."""
        try:
            function(data)
        except Exception as error:  # noqa: BLE001 - travels to who waits for the reply
            self._fail(error)

    def _feed(self, data: memoryview) -> None:
        if self._state == "head":
            self._feed_head(data)
        elif self._state == "gate":
            self._held += data
            cast("asyncio.Transport", self._transport).pause_reading()
        elif self._state == "chunks":
            self._feed_chunks(data)
        elif self._state == "rest":
            self._feed_rest(data)
        else:  # nothing was asked for
            self.abort()

    def _feed_head(self, data: memoryview) -> None:
        searched = len(self._held)
        if searched:
            self._held += data
            data = memoryview(self._held)
        while end := split(data, searched):
            head = parse(bytes(data[:end]))
            data, searched = data[end:], 0
            if head.status >= 200:  # noqa: PLR2004 - others are interim, RFC 9110, section 15.2
                self._head, self._held = head, bytearray()
                self._take = self._decide(head)
                self._begin_or_wait(data)
                return
            if head.status == 101:  # noqa: PLR2004 - Switching Protocols
                raise not_http("the server changes to another protocol")
        self._held = bytearray(data)

    def _begin_or_wait(self, rest: memoryview) -> None:
        head, take = cast("Head", self._head), self._take
        is_here = head.length is not None and head.length <= len(rest)
        if take.keep is None:
            check_size(head.length, take.most)
        if is_here or not take.waits:
            self._begin(rest)
        else:
            self._state, self._held = "gate", bytearray(rest)
            self._tell(None)

    def _begin(self, rest: memoryview) -> None:
        """Take the body, the beginning of which is `rest`."""
        head = cast("Head", self._head)
        if head.length is not None and head.length <= len(rest):
            self._finish(bytes(rest[: head.length]), is_clean=head.length == len(rest))
        elif self._take.keep == 0:
            self._finish(b"", is_clean=False)
        elif head.chunked:
            self._state, self._chunks = "chunks", Chunks(self._check)
            self._feed_chunks(rest)
        elif head.length is None or self._take.keep is not None:
            self._state = "rest"
            self._feed_rest(rest)
        else:
            self._buffer = self._room(head.length)
            self._buffer[: len(rest)] = rest
            self._state, self._filled = "body", len(rest)

    def _room(self, size: int) -> memoryview:
        try:
            return self._buffers.take(size)
        except MemoryError:
            pass
        raise TryError(Verdict(f"it has {size} bytes, more than there is memory for"))

    def _feed_chunks(self, data: memoryview) -> None:
        chunks, keep = cast("Chunks", self._chunks), self._take.keep
        over = chunks.feed(data)
        if over is not None:
            self._finish(chunks.body, is_clean=over == 0)
        elif keep is not None and len(chunks.body) >= keep:
            self._finish(chunks.body, is_clean=False)

    def _feed_rest(self, data: memoryview) -> None:
        """Take what comes until the connection ends, or until enough of a body came whose end does not matter."""
        length = cast("Head", self._head).length
        self._held += data
        if self._take.keep is None:
            check_size(len(self._held), self._take.most)
        elif length is not None and len(self._held) >= length:
            self._finish(self._held[:length], is_clean=len(self._held) == length)
        elif len(self._held) >= self._take.keep and (length is None or length > _SHORT_BYTES):
            self._finish(self._held, is_clean=False)

    def _check(self, size: int) -> None:
        if self._take.keep is None:
            check_size(size, self._take.most)

    def _finish(self, body: bytes | bytearray | memoryview, *, is_clean: bool = True) -> None:
        """Hand the reply over; `is_clean`: all of it was taken, and nothing came behind it."""
        head = cast("Head", self._head)
        waiter, self._waiter = self._waiter, None
        self._buffer, self._chunks, self._held = self._scratch, None, bytearray()
        if is_clean and head.keeps:
            self._state = "idle"
            self._freed(self)
        else:
            self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_result(Answer(head, body))

    def _tell(self, answer: Answer | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter = self._waiter, None
        self.abort()
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _ended(self, error: Exception | None) -> None:
        if self._state == "closed":
            return
        if self._state == "rest" and error is None and cast("Head", self._head).length is None:
            self._finish(self._held, is_clean=False)
        elif self._state in ("idle", "gate"):  # who waits for room learns it from go_on()
            self.abort()
        elif self._state == "head" and not self._received and self._uses > 1:
            self._fail(StaleError("the connection was closed before a reply came"))
        elif error is not None:
            self._fail(error)
        elif self._state == "head":
            self._fail(ConnectionResetError("the server closed the connection before a reply came"))
        else:
            length = cast("Head", self._head).length
            self._fail(_cut_off(self._filled if self._state == "body" else len(self._held), length))


def _all(head: Head) -> Take:  # noqa: ARG001 - a Decide
    return Take()


def _cut_off(came: int, length: int | None) -> ConnectionError:
    of = "" if length is None else f" of {length}"
    return ConnectionResetError(f"the connection was closed after {came} bytes{of}")
