"""The wire's parsing of replies: heads, chunks, and whole replies that come in any pieces. No sockets."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.store.retry import TryError
from slicedfs.store.wire.buffers import Buffers
from slicedfs.store.wire.chunks import Chunks
from slicedfs.store.wire.client import request_bytes
from slicedfs.store.wire.connection import Answer, Connection, StaleError, Take
from slicedfs.store.wire.heads import Head, parse, split
from slicedfs.store.wire.http import field_lines


class Transport(asyncio.Transport):
    """Takes note of what a connection does to its transport."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_paused = self.is_aborted = False

    def write(self, data: Any) -> None:
        self.sent.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Line:
    """A connection with nothing behind it, and a request under way."""

    def __init__(self, take: Take = Take(), scratch: int = 300) -> None:  # noqa: B008 - a constant
        self.freed, self.lost = 0, 0
        self.transport = Transport()
        self.buffers = Buffers()
        view = memoryview(bytearray(scratch))
        self.connection = Connection(view, self.buffers, self._free, self._lose)
        self.connection.connection_made(self.transport)
        self.take = take
        self.waiter = self.ask()

    def _free(self, connection: Connection) -> None:
        self.freed += 1

    def _lose(self, connection: Connection) -> None:
        self.lost += 1

    def ask(self) -> "asyncio.Future[Answer | None]":
        self.waiter = self.connection.send(b"GET / HTTP/1.1\r\n\r\n", lambda head: self.take)
        return self.waiter

    def feed(self, data: bytes) -> None:
        """Let `data` arrive, as much at a time as the connection has room for; grant the room it asks for."""
        while data and not self.transport.is_aborted:
            if self.waiter.done() and self.waiter.exception() is None and self.waiter.result() is None:
                self.waiter = self.connection.go_on()
            buffer = self.connection.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self.connection.buffer_updated(size)
            data = data[size:]

    def end(self) -> Answer:
        """Close the connection from the other side and return the answer, or raise what became of it."""
        if self.waiter.done() and self.waiter.exception() is None and self.waiter.result() is None:
            self.waiter = self.connection.go_on()
        if not self.transport.is_aborted:
            self.connection.eof_received()
        self.connection.connection_lost(None)
        assert self.waiter.done()
        answer = self.waiter.result()
        assert answer is not None
        return answer


def answer_to(data: bytes, take: Take = Take()) -> Answer:  # noqa: B008 - a constant
    """Return the answer to a reply of these bytes, in one piece."""

    async def play() -> Answer:
        line = Line(take)
        line.feed(data)
        return line.end()

    return asyncio.run(play())


def test_parse() -> None:
    """A head gives status, headers by lower-case name (repeated ones joined), length and persistence."""
    head = parse(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 12\r\nX-A:  b \t\r\nx-a: c\r\nE:\r\n\r\n")
    headers = {"content-length": "12", "x-a": "b, c", "e": ""}
    assert head == Head(206, headers, 12, chunked=False, keeps=True)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", (None, True, True)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", (None, True, False)),
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n", (5, False, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", (5, False, False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", (5, False, True)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", (5, False, True)),
        (b"HTTP/1.1 200 OK\r\n\r\n", (None, False, False)),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", (0, False, True)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (0, False, True)),
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\n", (5, False, True)),
    ],
)
def test_framing(head: bytes, expected: tuple[int | None, bool, bool]) -> None:
    """Length, chunks and persistence follow RFC 9112, sections 6.3 and 9.3; bare line feeds are read as line ends."""
    found = parse(head)
    assert (found.length, found.chunked, found.keeps) == expected


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "the reply begins with 'HTTP/2 200"),
        (b"ICY 200 OK\r\n\r\n", "the reply begins with"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "the reply begins with"),
        (b"HTTP/1.1 600 OK\r\n\r\n", "the reply begins with"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "Content-Length is '5, 6'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "Content-Length is '-5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", r"Content-Length is '\+5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n", "Content-Length is '0x5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\n", "Content-Length is '5 5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "Content-Length is ''"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n", "Content-Length is '9999"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding is 'gzip, chunked'"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "a header is ' folded"),
        (b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n", "a header is 'No colon"),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "a header is 'A : b"),
        (b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", "a header is 'A: b"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 257 + b"\r\n", "the reply has more than 256 headers"),
    ],
)
def test_malformed_heads(head: bytes, text: str) -> None:
    """A head that breaks the protocol, or says two things, is refused with what is wrong; another try may help."""
    with pytest.raises(TryError, match=f"not HTTP: {text}") as caught:
        parse(head)
    assert caught.value.verdict.again


def test_endless_head() -> None:
    """A head of more than 64 KiB is refused while it comes."""
    with pytest.raises(TryError, match="the head of the reply is longer than 65536 bytes"):
        split(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000)
    with pytest.raises(TryError, match="the head of the reply is longer than 65536 bytes"):
        answer_to(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000)


@pytest.mark.parametrize("target", ["/a\r\nX: y", "/a b", "a", "", "/\x7f", "/é", "http://h/x"])
def test_targets_cannot_end_the_line(target: str) -> None:
    """A path that would end the request line, or is none, is refused before anything is sent."""
    with pytest.raises(ValueError, match=r"a path to ask for must begin with / and hold printable ASCII alone"):
        request_bytes(target, b"")


def test_headers_cannot_end_the_line() -> None:
    """A header of the user's that holds a line break is refused, and not quoted: it may be a secret."""
    with pytest.raises(ValueError, match=r"a header must not hold line breaks; one of the headers given does$"):
        field_lines({"X-Mine": "canary\r\nX-Other: 1"})
    assert field_lines({"X-A": "é", "B": "c"}) == b"X-A: \xc3\xa9\r\nB: c\r\n"


def chunked(body: bytes, cuts: list[int], trailer: bytes = b"", extension: bytes = b"") -> bytes:
    """Return `body` in chunks that end at `cuts`."""
    ends = sorted({min(cut, len(body)) for cut in cuts} | {len(body)} - {0})
    parts = [body[start:stop] for start, stop in zip([0, *ends], ends, strict=False) if stop > start]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(p), extension, p) for p in parts) + b"0\r\n" + trailer + b"\r\n"


@st.composite
def replies(draw: st.DrawFn) -> tuple[bytes, bytes, bool]:
    """Draw (reply, its body, whether the connection may carry another)."""
    body = draw(st.binary(max_size=1200))
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n"])
    )
    status = draw(st.sampled_from([b"200 OK", b"206 Partial", b"404"]))
    more = draw(st.lists(st.sampled_from([b"ETag: x\r\n", b"x-long: " + b"y" * 400 + b"\r\n", b"A:\r\n"]), max_size=3))
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    head = b"HTTP/1.1 " + status + b"\r\n" + b"".join(more)
    if framing == "length":
        return interim + head + b"Content-Length: %d\r\n\r\n" % len(body) + body, body, True
    if framing == "close":
        return interim + head + b"\r\n" + body, body, False
    cuts = draw(st.lists(st.integers(0, 1200), max_size=4))
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    extension = draw(st.sampled_from([b"", b";a=b", b" "]))
    encoded = chunked(body, cuts, trailer, extension)
    return interim + head + b"Transfer-Encoding: chunked\r\n\r\n" + encoded, body, True


@given(replies(), st.lists(st.integers(0, 2500), max_size=8), st.sampled_from([Take(), Take(5000, waits=True)]))
def test_any_pieces(reply: tuple[bytes, bytes, bool], cuts: list[int], take: Take) -> None:
    """A reply that comes in any pieces, with room granted late or not asked for, gives its body, byte for byte."""
    data, body, keeps = reply

    async def play() -> None:
        line = Line(take)
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
            line.feed(data[start:stop])
        answer = line.end()
        assert bytes(answer.body) == body
        assert (line.freed, line.lost) == (1 if keeps else 0, 1)

    asyncio.run(play())


@given(replies(), st.integers(0, 2500), st.binary(max_size=3), st.integers(0, 3))
def test_mutated_replies(reply: tuple[bytes, bytes, bool], at: int, new: bytes, gone: int) -> None:
    """A reply with bytes changed, added or lost ends in an answer or an error that says what is wrong, never waits."""
    data = reply[0][:at] + new + reply[0][at + gone :]

    async def play() -> None:
        line = Line(Take(5000))
        line.feed(data)
        try:
            line.end()
        except (TryError, ConnectionError) as error:
            assert str(error)  # noqa: PT017
        assert line.lost == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"zz\r\n", "the size of a chunk is b'zz'"),
        (b"-1\r\n", "the size of a chunk is b'-1'"),
        (b"\r\n", "the size of a chunk is b''"),
        (b"1" * 16 + b"\r\n", "the size of a chunk is"),
        (b"2\r\nabc\r\n", "a chunk is followed by b'c'"),
        (b"2;" + b"x" * 5000, "a line between chunks is longer than 4096 bytes"),
        (b"0\r\n" + b"A: b\r\n" * 5000, "the trailer is longer than 16384 bytes"),
    ],
)
def test_malformed_chunks(body: bytes, text: str) -> None:
    """Chunks that break the protocol are refused with what is wrong."""
    with pytest.raises(TryError, match=f"not HTTP: {text}"):
        answer_to(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


def test_chunks_are_checked_before_they_come() -> None:
    """The size that a chunk announces counts at once."""
    seen: list[int] = []
    chunks = Chunks(seen.append)
    assert chunks.feed(memoryview(b"5\r\nhello\r\nffffff\r\n")) is None
    assert seen == [5, 5 + 0xFFFFFF]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 11,
    ],
)
def test_bodies_have_a_bound(reply: bytes) -> None:
    """A body over the bound is refused by its header, by the size of a chunk, or while it comes."""
    with pytest.raises(TryError, match="it has 11 bytes, more than the 10 that are allowed"):
        answer_to(reply, Take(10))


def test_what_memory_cannot_hold() -> None:
    """A length that no memory can hold is an error, and nothing is read."""
    with pytest.raises(TryError, match="it has 900000000000000000 bytes, more than there is memory for"):
        answer_to(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000000000000\r\n\r\n")


@pytest.mark.parametrize(
    ("reply", "kept", "is_kept_open"),
    [
        (b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
        (b"HTTP/1.1 404 No\r\nContent-Length: 100000\r\n\r\n" + b"x" * 300, b"x" * 10, False),
        (b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + b"x" * 64, b"x" * 10, False),
        (b"HTTP/1.1 404 No\r\n\r\n" + b"x" * 64, b"x" * 10, False),
    ],
)
def test_only_the_beginning_matters(reply: bytes, kept: bytes, is_kept_open: bool) -> None:
    """Of the body of an error only the beginning is waited for; the connection goes where more would come."""

    async def play() -> None:
        line = Line(Take(keep=10), scratch=200)
        line.feed(reply)
        answer = line.waiter.result()
        assert answer is not None
        assert bytes(answer.body[:10]) == kept[:10]
        assert line.transport.is_aborted is not is_kept_open
        line.connection.connection_lost(None)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (b"", ConnectionResetError, "the server closed the connection before a reply came"),
        (b"HTTP/1.1 200", ConnectionResetError, "the server closed the connection before a reply came"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ConnectionResetError, "closed after 3 bytes of 10"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", ConnectionResetError, "was closed after"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", TryError, "the server changes to another protocol"),
    ],
)
def test_early_ends(reply: bytes, kind: type[Exception], text: str) -> None:
    """A connection that ends too early is an error that says how far it came."""
    with pytest.raises(kind, match=text):
        answer_to(reply)


def test_a_used_connection_that_was_closed_is_no_try() -> None:
    """A connection that served before and ends before a byte of the next reply is told apart: another one may do."""

    async def play() -> None:
        line = Line()
        line.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        assert line.waiter.result() == (Head(200, {"content-length": "1"}, 1, chunked=False, keeps=True), b"x")
        assert line.connection.is_open
        line.ask()
        with pytest.raises(StaleError, match="the connection was closed before a reply came"):
            line.end()

    asyncio.run(play())


def test_giving_up_too_late_harms_nobody() -> None:
    """A request given up when its reply has come already does not close the connection under the next one."""

    async def play() -> None:
        line = Line()
        first = line.waiter
        line.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        second = line.ask()
        line.connection.give_up(first)
        assert (line.lost, line.transport.is_aborted) == (0, False)
        line.connection.give_up(second)
        assert (line.lost, line.transport.is_aborted) == (1, True)
        line.connection.connection_lost(None)

    asyncio.run(play())


@pytest.mark.parametrize("when", ["behind the reply", "later"])
def test_bytes_that_nobody_asked_for(when: str) -> None:
    """What comes behind a reply, or between two, is no beginning of the next: the connection is closed."""

    async def play() -> None:
        line = Line()
        reply, more = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", b"HTTP/1.1 200 OK\r\n"
        if when == "later":
            line.feed(reply)
            assert line.freed == 1
            line.feed(more)
        else:
            line.feed(reply + more)
        assert line.waiter.result() is not None
        assert (line.lost, line.transport.is_aborted, line.connection.is_open) == (1, True, False)
        line.connection.connection_lost(None)

    asyncio.run(play())


def test_a_body_waits_for_room() -> None:
    """Before there is room, what comes is at most one buffer; then reading pauses until the room is granted."""

    async def play() -> None:
        line = Line(Take(waits=True), scratch=100)
        connection, transport = line.connection, line.transport
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
        buffer = connection.get_buffer(-1)
        buffer[: len(head)] = head
        connection.buffer_updated(len(head))
        assert line.waiter.result() is None
        assert connection.head.length == 500
        connection.get_buffer(-1)[:100] = b"a" * 100
        assert not transport.is_paused
        connection.buffer_updated(100)
        assert transport.is_paused
        line.waiter = connection.go_on()
        assert not transport.is_paused
        line.feed(b"b" * 400)
        assert bytes(line.end().body) == b"a" * 100 + b"b" * 400

    asyncio.run(play())


def test_ticks() -> None:
    """Without a byte in nine ticks a read fails, also where some came before; with a trickle, too; else it goes on."""

    def after(pieces: list[bytes], ticks_each: int, seconds_each: float) -> BaseException | None:
        async def play() -> BaseException | None:
            line = Line()
            now = 100.0
            for piece in pieces:
                line.feed(piece)
                for _ in range(ticks_each):
                    now += seconds_each
                    line.connection.tick(now, 2.0)
            error = line.waiter.exception() if line.waiter.done() else None
            line.waiter.cancel()
            line.connection.connection_lost(None)
            return error

        return asyncio.run(play())

    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    assert after([b""], 8, 0.25) is None
    assert repr(after([b""], 9, 0.25)) == "TimeoutError('no byte came in 2.0 s')"
    assert repr(after([head + b"x"], 10, 0.25)) == "TimeoutError('no byte came in 2.0 s')"
    assert repr(after([head, *[b"x"] * 20], 1, 1.0)) == "TimeoutError('9 bytes came in 9.0 s')"
    assert after([head, *[b"x" * 1100] * 20], 1, 1.0) is None
    dripped = [b"HTTP/1.1 200 OK\r\nX: ", *[b"y"] * 30]
    assert repr(after(dripped, 1, 0.25)) == "TimeoutError('the head of the reply did not come in 4.0 s')"


def test_buffers_are_used_again_once_nobody_holds_them() -> None:
    """A block is handed out again when all views of it are gone, and never before."""
    buffers = Buffers()
    first = buffers.take(300_000)
    first[:3] = b"abc"
    part = first[:3]
    address = id(first.obj)
    second = buffers.take(300_000)
    assert id(second.obj) != address
    del first
    third = buffers.take(300_000)  # `part` still holds the first block
    assert id(third.obj) != address
    assert bytes(part) == b"abc"
    del part
    assert id(buffers.take(299_999).obj) == address
    assert len(buffers.take(299_999)) == 299_999
    assert len(buffers.take(0)) == 0


def test_buffers_keep_a_bounded_number_of_bytes() -> None:
    """What is kept for later stays below 128 MiB, whatever sizes come."""
    buffers = Buffers()
    held = [buffers.take(size << 20) for size in (30, 31, 32, 29, 28, 27, 26)]
    assert buffers._bytes <= 128 << 20
    assert [len(view) for view in held] == [size << 20 for size in (30, 31, 32, 29, 28, 27, 26)]
    buffers.clear()
    assert buffers._bytes == 0
