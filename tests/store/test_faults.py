"""The store against a server that breaks in 37 ways: correct bytes or an error that says so, never other bytes."""

import asyncio
from collections.abc import Iterator

import pytest
from faultserver import DATA, MODES, OTHER, FaultServer

from slicedfs.errors import MissingTileError, StoreError, UrlPolicyError
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run, web
from slicedfs.store.retry import Clock

SPAN = ByteRange(1000, 201_000)
FLIPPED = bytearray(DATA)
FLIPPED[100_000] ^= 1

# mode -> (what reading the range gives, requests), (what reading the whole gives, requests). Data or error message.
Outcome = tuple[bytes | tuple[type[Exception], str], int]
EXPECTED: dict[str, tuple[Outcome, Outcome]] = {
    "good": ((DATA, 1), (DATA, 1)),
    "500-once": ((DATA, 2), (DATA, 2)),
    "502-once": ((DATA, 2), (DATA, 2)),
    "504-once": ((DATA, 2), (DATA, 2)),
    "408-once": ((DATA, 2), (DATA, 2)),
    "reset-before-headers-once": ((DATA, 2), (DATA, 2)),
    "close-before-headers-once": ((DATA, 2), (DATA, 2)),
    "reset-halfway-once": ((DATA, 2), (DATA, 2)),
    "close-halfway-once": ((DATA, 2), (DATA, 2)),
    "chunked-halfway-once": ((DATA, 2), (DATA, 2)),
    "stall-before-headers-once": ((DATA, 2), (DATA, 2)),
    "stall-after-100-once": ((DATA, 2), (DATA, 2)),
    "redirect": ((DATA, 2), (DATA, 2)),
    "429-retry-after-twice": ((DATA, 3), (DATA, 3)),
    "200-internal-error-twice": ((DATA, 3), (DATA, 3)),
    "503-slow-down-thrice": ((DATA, 4), (DATA, 4)),
    "429-thrice": ((DATA, 4), (DATA, 4)),
    "ignores-range": ((DATA, 1), (DATA, 1)),
    "no-content-range": ((DATA, 1), (DATA, 1)),
    "gzip-of-range": ((DATA, 1), (DATA, 1)),
    "401-once": (
        ((StoreError, r"HTTP status 401 \(ExpiredToken\)"), 1),
        ((StoreError, r"HTTP status 401 \(ExpiredToken\)"), 1),
    ),
    "64-bytes-too-many": ((DATA, 1), (DATA, 1)),
    "replaced-between-reads": ((DATA, 1), (DATA, 1)),
    "replaced-on-the-way": ((OTHER, 2), (OTHER, 2)),  # all of the new object, none of the old
    "range-of-stored-gzip": ((DATA, 2), (DATA, 1)),
    "drip": ((((StoreError, "no answer in time")), 5), (((StoreError, "no answer in time")), 5)),
    "half-without-length": (
        ((StoreError, "the reply has 100000 bytes and promised 200000"), 5),
        (DATA[: len(DATA) // 2], 1),  # nothing in the reply tells that there is more
    ),
    "half-with-length": (
        ((StoreError, "the reply has 100000 bytes and promised 200000"), 5),
        (DATA[: len(DATA) // 2], 1),
    ),
    "shifted-by-500": (((StoreError, "starts at byte 1500 instead of 1000"), 5), (DATA, 1)),
    "html-page": (
        ((StoreError, "the server sent a web page .'<!DOCTYPE html>"), 1),
        ((StoreError, "the server sent a web page .'<!DOCTYPE html>"), 1),
    ),
    "bit-flip": ((bytes(FLIPPED), 1), (bytes(FLIPPED), 1)),  # nothing but a checksum tells
    "404": (
        ((MissingTileError, r"there is no such file \(HTTP status 404, bytes 1000-200999, 1 try\)"), 1),
        ((MissingTileError, r"there is no such file \(HTTP status 404, 1 try\)"), 1),
    ),
    "403": (
        ((StoreError, r"HTTP status 403 \(AccessDenied\).*Check the credentials"), 1),
        ((StoreError, r"HTTP status 403 \(AccessDenied\).*Check the credentials"), 1),
    ),
    "reset-halfway": (((StoreError, "5 tries"), 5), ((StoreError, "5 tries"), 5)),
    "close-halfway": (((StoreError, "5 tries"), 5), ((StoreError, "5 tries"), 5)),
    "redirect-loop": (((StoreError, "more than 5 redirects"), 6), ((StoreError, "more than 5 redirects"), 6)),
    "redirect-to-file": (
        ((UrlPolicyError, "redirects to 'file:///etc/passwd'"), 1),
        ((UrlPolicyError, "redirects to 'file:///etc/passwd'"), 1),
    ),
}


async def no_sleep(_: float) -> None:
    """Wait for the other tasks only: the pauses between tries are tested on their own."""
    await asyncio.sleep(0)


@pytest.fixture(autouse=True, params=["wire", "aiohttp"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test over both clients."""
    if request.param == "aiohttp":
        monkeypatch.setattr(web, "http_lane", lambda filesystem, make: None)
    return str(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Give one fault server to all."""
    with FaultServer() as server:
        yield server


def quick_store(server: FaultServer, mode: str = "", **options: object) -> Store:
    """Give a store that does not pause between tries, nor wait for long where a mode makes it wait."""
    stall_s = 0.3 if mode == "drip" else 1.0 if mode.startswith("stall") else 10.0
    return Store(StoreOptions(f"{server.url}/m.json", stall_s=stall_s, **options), Clock(sleep=no_sleep))  # type: ignore[arg-type]


def requests_of(server: FaultServer, path: str) -> int:
    """Return how many requests the server saw for `path` or below it."""
    return sum(n for seen, n in server.counts.items() if seen.startswith(path))


def test_all_37_modes_are_tested() -> None:
    """Every mode of the fault server has an outcome written down here."""
    assert set(EXPECTED) == set(MODES)
    assert len(MODES) == 37


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("byte_range", [SPAN, WHOLE], ids=["range", "whole"])
def test_fault(server: FaultServer, mode: str, byte_range: ByteRange, transport: str) -> None:
    """A fault gives exactly the bytes asked for, or an error that names it, in a known number of requests."""
    path = f"/{mode}/{transport}/{'whole' if byte_range.is_whole else 'range'}.bin"
    expected, requests = EXPECTED[mode][byte_range.is_whole]
    store = quick_store(server, mode)
    if isinstance(expected, bytes):
        reply = run(store.read, Request(server.url + path, byte_range))
        assert reply.data == expected[byte_range.start : byte_range.stop]
    else:
        kind, text = expected
        with pytest.raises(kind, match=text) as caught:
            run(store.read, Request(server.url + path, byte_range))
        assert server.url in str(caught.value)
        assert caught.type is kind
    assert requests_of(server, path) == requests


def test_replacement_shows_in_the_etag(server: FaultServer, transport: str) -> None:
    """An object that changes between two reads has another ETag in the second reply."""
    store = quick_store(server)
    url = f"{server.url}/replaced-between-reads/{transport}/x.bin"
    first, second = (run(store.read, Request(url, SPAN)) for _ in range(2))
    assert (first.data, second.data) == (DATA[1000:201_000], OTHER[1000:201_000])
    assert first.etag == f'"{DATA[:4].hex()}"'
    assert second.etag == f'"{OTHER[:4].hex()}"'


def test_server_without_ranges_is_asked_for_whole_objects(server: FaultServer) -> None:
    """After one reply with the whole object, the store asks that server for whole objects, and cuts them itself."""
    store = quick_store(server)
    for i, span in enumerate([ByteRange(0, 10), ByteRange(70, 80)]):
        url = f"{server.url}/ignores-range/{i}.bin"
        assert run(store.read, Request(url, span)) == Reply(DATA[span.start : span.stop], len(DATA), '"whole"')
    ranges = [seen.byte_range for seen in server.seen if seen.path.startswith("/ignores-range/")]
    assert ranges[-2:] == [(0, 10), None]


def test_error_tells_status_and_tries(server: FaultServer, transport: str) -> None:
    """The error carries the HTTP status and the number of tries as attributes."""
    with pytest.raises(StoreError, match=r"HTTP status 429 \(3 tries\)") as caught:
        run(quick_store(server, max_tries=3).read, Request(f"{server.url}/429-thrice/{transport}/attributes"))
    assert (caught.value.status, caught.value.tries) == (429, 3)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (ByteRange(0, 10), DATA[:10]),
        (ByteRange(262_140), DATA[-4:]),
        (ByteRange(262_140, 300_000), DATA[-4:]),
        (ByteRange(5, 5), b""),
        (ByteRange(7, 3), b""),
    ],
)
def test_ranges_at_the_edges(server: FaultServer, span: ByteRange, expected: bytes, transport: str) -> None:
    """A range that the end of the object cuts off is short; an empty one is empty, and costs no request."""
    path = f"/good/{transport}/{span.start}-{span.stop}"
    assert run(quick_store(server).read, Request(server.url + path, span)).data == expected
    assert requests_of(server, path) == (1 if expected else 0)


def test_range_past_the_end(server: FaultServer) -> None:
    """A range that begins past the end is an error at once, never the last bytes."""

    async def past_end(x):
        await x.reply(416, Content_Range=f"bytes */{len(DATA)}")

    server.modes["416"] = past_end
    with pytest.raises(StoreError, match=r"byte 262144 is past the end of 262144 bytes \(bytes 262144-262149, 1 try\)"):
        run(quick_store(server).read, Request(f"{server.url}/416/x", ByteRange(262_144, 262_150)))


def test_negative_ranges_are_refused(server: FaultServer) -> None:
    """A negative bound is a ValueError: servers would read it as "the last n bytes"."""
    with pytest.raises(ValueError, match="byte_range must not be negative"):
        run(quick_store(server).read, Request(f"{server.url}/good/negative", ByteRange(-5, 10)))
    assert requests_of(server, "/good/negative") == 0
