"""Checks of replies: the bytes asked for, or a failure; never others."""

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicedfs.ranges import ByteRange
from slicedfs.store.replies import (
    ContentRange,
    EncodingError,
    check_size,
    content_range,
    cut,
    decoded,
    partial,
    range_header,
)
from slicedfs.store.retry import TryError

DATA = bytes(range(100))


@pytest.mark.parametrize(
    ("want", "header"),
    [(ByteRange(0, 1), "bytes=0-0"), (ByteRange(10, 20), "bytes=10-19"), (ByteRange(7), "bytes=7-")],
)
def test_range_header(want: ByteRange, header: str) -> None:
    """Half-open ranges become headers with an inclusive last byte."""
    assert range_header(want) == header


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 10-19/100", ContentRange(10, 20, 100)),
        ("BYTES  10-19/*", ContentRange(10, 20, None)),
        (None, None),
        ("", None),
        ("bytes */100", None),
        ("bytes 10-19", None),
        ("items 10-19/100", None),
        ("bytes -5-19/100", None),
    ],
)
def test_content_range(header: str | None, expected: ContentRange | None) -> None:
    """A Content-Range is read as half-open; one that cannot be read counts as none."""
    assert content_range(header) == expected


@given(
    st.tuples(st.integers(0, 99), st.none() | st.integers(1, 120)),
    st.integers(0, 110),
    st.integers(0, 110),
    st.sampled_from([100, None, 50, 101]),
    st.booleans(),
    st.integers(0, 3),
)
def test_partial_is_right_or_fails(
    want: tuple[int, int | None], start: int, length: int, size: int | None, tells: bool, missing: int
) -> None:
    """A server that tells the truth about what it sent, but sends anything, never makes the result wrong."""
    asked = ByteRange(want[0], None if want[1] is None else want[0] + want[1])
    promised = DATA[start : start + length]
    sent = promised[: len(promised) - missing]
    told = ContentRange(start, start + len(promised), size) if tells else None
    if size not in (100, None) or (told is None and start != asked.start):
        return  # a server that lies about the size, or sends another range without a word, cannot be found out
    data = None
    with suppress(TryError):
        data = partial(asked, sent, told)
    if data is not None and not (size is None and asked.stop is None):
        assert data == DATA[asked.start : asked.stop]
    if told == ContentRange(asked.start, min(asked.stop or 100, 100), 100) and not missing:
        assert data is not None  # and the right reply is taken


@pytest.mark.parametrize(
    ("told", "data", "text"),
    [
        (None, DATA[10:19], "the reply has 9 bytes and does not say which, 10 were asked for"),
        (ContentRange(11, 21, 100), DATA[11:21], "the reply starts at byte 11 instead of 10"),
        (ContentRange(10, 20, 100), DATA[10:15], "the reply has 5 bytes and promised 10"),
        (ContentRange(10, 15, 100), DATA[10:15], "the reply has 5 bytes, 10 were asked for"),
        (ContentRange(10, 15, None), DATA[10:15], "the reply has 5 bytes, 10 were asked for"),
    ],
)
def test_wrong_partial_replies(told: ContentRange | None, data: bytes, text: str) -> None:
    """A partial reply that is not what was asked for fails with both numbers, and may be tried again."""
    with pytest.raises(TryError, match=text) as caught:
        partial(ByteRange(10, 20), data, told)
    assert caught.value.verdict.again


def test_open_range_must_reach_the_end() -> None:
    """A reply to "from 10 to the end" that stops before the end fails."""
    with pytest.raises(TryError, match="the reply stops at byte 50 of 100"):
        partial(ByteRange(10), DATA[10:50], ContentRange(10, 50, 100))


@pytest.mark.parametrize("want", [ByteRange(), ByteRange(0, 5), ByteRange(90, 500), ByteRange(99)])
def test_cut(want: ByteRange) -> None:
    """A range is cut out of the whole as a slice."""
    assert cut(want, DATA) == DATA[want.start : want.stop]


def test_empty_partial_reply_past_the_end() -> None:
    """An empty reply at the end of the object is what some send for a range past it: a final failure."""
    with pytest.raises(TryError, match=r"byte 100 is past the end of 100 bytes"):
        partial(ByteRange(100, 110), b"", ContentRange(100, 100, 100))


def test_cut_past_the_end() -> None:
    """A range that begins at the end or later is a final failure, as status 416 is."""
    with pytest.raises(TryError, match="byte 100 is past the end of 100 bytes") as caught:
        cut(ByteRange(100, 101), DATA)
    assert (caught.value.verdict.status, caught.value.verdict.again) == (416, False)


def test_a_range_from_the_start_of_nothing() -> None:
    """Of an empty object every range that begins at 0 is empty."""
    assert cut(ByteRange(0, 16), b"") == b""


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (DATA, ""),
        (DATA, "identity"),
        (gzip.compress(DATA), "gzip"),
        (gzip.compress(DATA), "x-gzip"),
        (gzip.compress(DATA[:30]) + gzip.compress(DATA[30:]), "gzip"),
        (zlib.compress(DATA), "deflate"),
    ],
)
@pytest.mark.parametrize("limit", [None, 100, 1000])
def test_decoded(data: bytes, encoding: str, limit: int | None) -> None:
    """Gzip (of several members too) and deflate are undone."""
    assert decoded(data, encoding, limit) == DATA


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (DATA, "br", "Content-Encoding 'br' is not one that can be decoded"),
        (DATA, "gzip", "the gzip body cannot be decoded"),
        (gzip.compress(DATA)[:-5], "gzip", "the gzip body is cut off"),
        (gzip.compress(DATA)[10:], "gzip", "the gzip body cannot be decoded"),
        (gzip.compress(DATA)[:-8] + bytes(8), "gzip", "the gzip body cannot be decoded"),
    ],
)
def test_undecodable(data: bytes, encoding: str, text: str) -> None:
    """An unknown encoding, a cut and a broken body are failures that say so."""
    with pytest.raises(EncodingError, match=text):
        decoded(data, encoding, None)


@pytest.mark.parametrize("members", [1, 40])
def test_bombs_stop_at_the_limit(members: int) -> None:
    """Decoding stops just past the limit, however much there is."""
    bomb = gzip.compress(bytes(10_000_000)) * members
    with pytest.raises(TryError, match="it has 1000001 bytes, more than the 1000000 that are allowed"):
        decoded(bomb, "gzip", 1_000_000)


def test_check_size() -> None:
    """Sizes at the limit pass, larger ones do not; what is unknown passes."""
    check_size(10, 10)
    check_size(None, 10)
    check_size(10, None)
    with pytest.raises(TryError, match="it has 11 bytes, more than the 10 that are allowed"):
        check_size(11, 10)
