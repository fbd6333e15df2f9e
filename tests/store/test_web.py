"""http: redirects, credentials, policy, signatures, sizes."""

import asyncio
import gzip
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import pytest
from faultserver import DATA, Exchange, FaultServer

from slicedfs.errors import MissingTileError, StoreError, UrlPolicyError
from slicedfs.policy import UrlPolicy
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run, web
from slicedfs.store.origins import Origins
from slicedfs.store.retry import Clock
from slicedfs.store.web import Web
from slicedfs.store.wire.answers import retry_after_s

SPAN = ByteRange(100, 200)
SECRET = "canary-55e1"


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture(autouse=True, params=["wire", "aiohttp"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every test over both clients."""
    if request.param == "aiohttp":
        monkeypatch.setattr(web, "http_lane", lambda filesystem, make: None)
    return str(request.param)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Give the server of the root document."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def other() -> Iterator[FaultServer]:
    """Give a server of another origin (another port)."""
    with FaultServer() as server:
        yield server


def store_of(server: FaultServer, *args: Any, **options: Any) -> Store:
    return Store(StoreOptions(f"{server.url}/m.json", *args, stall_s=2.0, **options), Clock(sleep=no_sleep))


def redirects_to(server: FaultServer, location: str) -> str:
    """Let the server redirect; return the URL that does."""

    async def redirect(x: Exchange) -> None:
        await x.reply(302, Location=location)

    server.modes["go"] = redirect
    return f"{server.url}/go/x.bin"


def test_redirect_keeps_the_range(server: FaultServer, other: FaultServer) -> None:
    """A redirect to another origin is followed, with the range."""
    url = redirects_to(server, f"{other.url}/good/there.bin")
    assert run(store_of(server).read, Request(url, SPAN)).data == DATA[100:200]
    assert [(seen.path, seen.byte_range) for seen in other.seen] == [("/good/there.bin", (100, 200))]


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/good/a.bin", "/good/a.bin"),
        ("../good/b.bin", "/good/b.bin"),
        ("/good/c%2Fd.bin?sig=a%2Bb%3D#part", "/good/c%2Fd.bin?sig=a%2Bb%3D"),
        ("/good/\xe9 f.bin", "/good/%C3%A9%20f.bin"),
    ],
)
def test_relative_redirects(server: FaultServer, location: str, path: str) -> None:
    """A relative Location is resolved against the URL; escapes stay as they are, the rest is encoded."""
    url = redirects_to(server, location.encode().decode("latin-1") if "\xe9" in location else location)
    assert run(store_of(server).read, Request(url, SPAN)).data == DATA[100:200]
    assert server.seen[-1].path == path


def test_credentials_stay_at_their_origin(server: FaultServer, other: FaultServer) -> None:
    """Headers given for the root reach neither another origin that a document names nor one it redirects to."""
    store = store_of(server, {"headers": {"Authorization": SECRET, "X-Api-Key": SECRET}})
    root = f"{server.url}/m.json"
    run(store.read, Request(f"{server.url}/good/own", SPAN, root))
    run(store.read, Request(f"{other.url}/good/named", SPAN, root))
    run(store.read, Request(redirects_to(server, f"{other.url}/good/redirected"), SPAN, root))
    assert [seen.headers["x-api-key"] for seen in server.seen] == [SECRET, SECRET]
    assert [seen.headers["authorization"] for seen in server.seen] == [SECRET, SECRET]
    assert [seen.path for seen in other.seen] == ["/good/named", "/good/redirected"]
    assert SECRET not in str([seen.headers for seen in other.seen])


def test_redirect_uses_the_credentials_of_its_target(server: FaultServer, other: FaultServer) -> None:
    """A redirect to an origin with an entry in filesystems gets that entry's headers, and not the root's."""
    store = store_of(server, {"headers": {"X-Root": "1"}}, {f"{other.url}/": {"headers": {"X-Other": "2"}}})
    run(store.read, Request(redirects_to(server, f"{other.url}/good/x"), SPAN))
    assert other.seen[0].headers.get("x-other") == "2"
    assert "x-root" not in other.seen[0].headers


def test_userinfo_becomes_basic_auth(server: FaultServer, other: FaultServer) -> None:
    """user:password in the URL is sent to that server as Basic auth, never on to another, never in messages."""
    root = server.url.replace("//", "//me:hidden99@")
    redirects_to(server, f"{other.url}/404/x")
    store = Store(StoreOptions(f"{root}/m.json"))
    with pytest.raises(MissingTileError, match=r"/go/x.bin: there is no such file") as caught:
        run(store.read, Request(f"{root}/go/x.bin"))
    assert server.seen[0].headers["authorization"] == "Basic bWU6aGlkZGVuOTk="  # base64 of me:hidden99
    assert "authorization" not in other.seen[0].headers
    assert "hidden99" not in str(caught.value)


def test_headers_are_merged(server: FaultServer) -> None:
    """The user's headers are sent, but ranges are of the object as it is: Accept-Encoding is identity."""
    store = store_of(server, {"headers": {"X-Mine": "1", "accept-encoding": "br", "Range": "bytes=0-0"}})
    assert run(store.read, Request(f"{server.url}/good/x", SPAN)).data == DATA[100:200]
    assert run(store.read, Request(f"{server.url}/good/x")).data == DATA
    for seen in server.seen:
        assert (seen.headers["x-mine"], seen.headers["accept-encoding"]) == ("1", "identity")


@pytest.mark.parametrize(
    "path",
    [
        "/good/a%2Fb%20c%3D.bin?X-Amz-Signature=a%2Bb%2F%3D&x=1/2&empty=&k=%7E",
        "/good/plain~(1)'!*;,:@&=+$.bin",
        "/good/%e9%FF",
    ],
)
def test_urls_are_sent_byte_for_byte(server: FaultServer, path: str) -> None:
    """Signatures cover the bytes of the URL: escapes are sent exactly as written."""
    run(store_of(server).read, Request(server.url + path, SPAN))
    assert server.seen[0].path == path


def test_fragment_is_not_sent(server: FaultServer) -> None:
    """The fragment stays at home."""
    run(store_of(server).read, Request(f"{server.url}/good/x#frag", SPAN))
    assert server.seen[0].path == "/good/x"


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("http://localhost:{port}/good/x", "refers to 'http://localhost:[0-9]+/good/x', but 'localhost' is a host of"),
        ("http://10.0.0.1/x", "but '10.0.0.1' is a host of this machine or a private network"),
        ("http://169.254.169.254/latest/meta-data", "but '169.254.169.254' is a host of this machine"),
        ("s3://bucket/key", "redirects to 's3://bucket/key'; only http and https are followed"),
        ("data:text/plain,x", "only http and https are followed"),
        ("ftp://h/x", "only http and https are followed"),
    ],
)
def test_redirects_obey_the_policy(server: FaultServer, other: FaultServer, location: str, text: str) -> None:
    """A redirect leads only where a document could lead, and is refused before a byte moves, at the first try."""
    url = redirects_to(server, location.format(port=other.port))
    for source in (None, f"{server.url}/m.json", "file:///m.json"):
        server.seen.clear()
        with pytest.raises(UrlPolicyError, match=text):
            run(store_of(server).read, Request(url, SPAN, source))
        assert (len(server.seen), len(other.seen)) == (1, 0)


def test_policy_may_allow_a_redirect(server: FaultServer, other: FaultServer) -> None:
    """hosts= lets a redirect through that the default refuses."""
    url = redirects_to(server, f"http://localhost:{other.port}/good/x")
    policy = UrlPolicy(hosts=["localhost", "127.0.0.1"])
    assert run(store_of(server, policy=policy).read, Request(url, SPAN)).data == DATA[100:200]


def test_redirect_to_plain_http_is_refused() -> None:
    """Https never falls back to http."""
    reader = Web(None, None, UrlPolicy(), 1.0)  # type: ignore[arg-type]
    with pytest.raises(UrlPolicyError, match="https://h/x redirects to 'http://h/x', which is not encrypted"):
        reader.redirect("https://h/x", "http://h/x", None)
    assert reader.redirect("http://h/x", "https://h/x", None) == "https://h/x"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let *.example.org resolve to this machine, as a hostile name server would."""
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **options: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith(".example.org") else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.usefixtures("names")
def test_names_that_resolve_inwards_are_refused(server: FaultServer) -> None:
    """A public name with an address of this machine is refused when a network document leads there, once tried."""
    store = Store(StoreOptions("https://data.example.com/m.json"))
    url = f"http://rebound.example.org:{server.port}/good/x"
    with pytest.raises(UrlPolicyError, match=r"leads to host 'rebound.example.org', but '127.0.0.1' is an address of"):
        run(store.read, Request(url, SPAN, "https://data.example.com/m.json"))
    assert server.seen == []


@pytest.mark.usefixtures("names")
def test_names_that_the_user_gave_may_resolve_inwards(server: FaultServer) -> None:
    """The user's own URL, and what a local document refers to, may lie on a private network."""
    base = f"http://intranet.example.org:{server.port}"
    own = Store(StoreOptions(f"{base}/m.json"))
    assert run(own.read, Request(f"{base}/good/own", SPAN, f"{base}/m.json")).data == DATA[100:200]
    local = Store(StoreOptions("file:///d/m.json"))
    assert run(local.read, Request(f"{base}/good/local", SPAN, "file:///d/m.json")).data == DATA[100:200]


@pytest.mark.usefixtures("names")
def test_an_allowed_session_does_not_open_the_door_for_others(server: FaultServer) -> None:
    """The same name is checked anew for a document that may not lead there, though another one may."""
    url = f"http://shared.example.org:{server.port}/good/x"
    store = Store(StoreOptions("file:///d/m.json"))
    assert run(store.read, Request(url, SPAN, "file:///d/m.json")).data == DATA[100:200]
    with pytest.raises(UrlPolicyError, match=r"leads to host 'shared.example.org'"):
        run(store.read, Request(url, SPAN, "https://data.example.com/m.json"))
    assert len(server.seen) == 1


def test_references_are_checked_before_a_byte_moves(server: FaultServer, other: FaultServer) -> None:
    """A network document that names a private host of others is refused by the store itself too."""
    request = Request(f"{other.url}/good/x", SPAN, "https://data.example.com/m.json")
    with pytest.raises(UrlPolicyError, match=r"but '127.0.0.1' is a host of this machine"):
        run(store_of(server).read, request)
    assert other.seen == []


@pytest.mark.parametrize("chunked", [True, False])
def test_max_bytes(server: FaultServer, chunked: bool) -> None:
    """A whole object over max_bytes is refused by its header, or while it comes, at the first try."""

    async def endless(x: Exchange) -> None:
        if not chunked:
            await x.head(200, 1 << 40)
        else:
            await x.head(200, None, Transfer_Encoding="chunked")
        while True:
            await x.send((b"10000\r\n" if chunked else b"") + bytes(65536) + (b"\r\n" if chunked else b""))

    server.modes["endless"] = endless
    with pytest.raises(StoreError, match=r"it has [0-9]+ bytes, more than the 1000000 that are allowed \(1 try\)"):
        run(_read_at_most, store_of(server), Request(f"{server.url}/endless/x"), 1_000_000)


async def _read_at_most(store: Store, request: Request, limit: int) -> Reply:
    return await store.read(request, max_bytes=limit)


def test_gzip_bomb(server: FaultServer) -> None:
    """A body that decodes to more than max_bytes is refused."""

    async def bomb(x: Exchange) -> None:
        await x.reply(200, gzip.compress(bytes(20_000_000)), Content_Encoding="gzip")

    server.modes["bomb"] = bomb
    with pytest.raises(StoreError, match="it has 1000001 bytes, more than the 1000000 that are allowed"):
        run(_read_at_most, store_of(server), Request(f"{server.url}/bomb/x"), 1_000_000)


def test_endless_reply_to_a_range(server: FaultServer) -> None:
    """A reply to a range that does not end is cut off."""

    async def endless(x: Exchange) -> None:
        await x.head(206, None, Transfer_Encoding="chunked", Content_Range="bytes 100-199/262144")
        while True:
            await x.send(b"10000\r\n" + bytes(65536) + b"\r\n")

    server.modes["endless"] = endless
    with pytest.raises(StoreError, match=r"more than the 1048976 that are allowed \(bytes 100-199, 1 try\)"):
        run(store_of(server).read, Request(f"{server.url}/endless/x", SPAN))


def test_huge_whole_in_place_of_a_range(server: FaultServer) -> None:
    """A server that ignores ranges is not allowed to send a terabyte for 100 bytes."""

    async def huge(x: Exchange) -> None:
        await x.head(200, 1 << 40)
        await asyncio.sleep(60)

    server.modes["huge"] = huge
    with pytest.raises(StoreError, match=r"it has 1099511627776 bytes, more than the 268435456 that are allowed"):
        run(store_of(server).read, Request(f"{server.url}/huge/x", SPAN))


def test_empty_object(server: FaultServer) -> None:
    """A range from the start of an empty object, which servers refuse, is empty; one further on is an error."""

    async def empty(x: Exchange) -> None:
        await (x.reply(200) if x.seen.byte_range is None else x.reply(416, Content_Range="bytes */0"))

    server.modes["empty"] = empty
    store = store_of(server)
    for span in (WHOLE, ByteRange(0, 16)):
        assert run(store.read, Request(f"{server.url}/empty/x", span)) == Reply(b"", 0, None)
    with pytest.raises(StoreError, match=r"byte 1 is past the end of 0 bytes"):
        run(store.read, Request(f"{server.url}/empty/x", ByteRange(1, 16)))


def test_version_of_an_object(server: FaultServer) -> None:
    """The reply's etag is the ETag, else Last-Modified, else None."""

    async def dated(x: Exchange) -> None:
        await x.reply(200, b"x", Last_Modified="Sat, 21 Nov 2026 09:53:36 GMT")

    async def plain(x: Exchange) -> None:
        await x.reply(200, b"x")

    server.modes |= {"dated": dated, "plain": plain}
    found = [run(store_of(server).read, Request(f"{server.url}/{mode}/x")).etag for mode in ("good", "dated", "plain")]
    assert found == [f'"{DATA[:4].hex()}"', "Sat, 21 Nov 2026 09:53:36 GMT", None]


def test_ranges_that_were_ignored_once(server: FaultServer) -> None:
    """A server that says it knows ranges, and still sends the whole once, is asked for ranges again."""

    async def once(x: Exchange) -> None:
        if x.number == 1:
            await x.reply(200, DATA, Accept_Ranges="bytes")
        else:
            await x.good()

    server.modes["cold"] = once
    store = store_of(server)
    for _ in range(2):
        assert run(store.read, Request(f"{server.url}/cold/x", SPAN)).data == DATA[100:200]
    assert [seen.byte_range for seen in server.seen] == [(100, 200), (100, 200)]


def test_wrong_option_is_named(server: FaultServer) -> None:
    """An option that http does not take is an error that names the options given, and none of their values."""
    store = store_of(server, {"anon": True, "key": SECRET})
    with pytest.raises(StoreError, match=r"unexpected keyword.*The options given for it are: anon, key\.") as caught:
        run(store.read, Request(f"{server.url}/good/x"))
    assert SECRET not in str(caught.value)
    assert server.seen == []


def test_refused_connection() -> None:
    """A server that is not there is an error after all tries, which names the URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
        store = Store(StoreOptions(url), Clock(sleep=no_sleep))
        with pytest.raises(
            StoreError, match=rf"{url}: could not be read: (ClientConnectorError|ConnectionError): .*\(5 tries\)"
        ):
            run(store.read, Request(url))


def test_filesystem_of_the_user(server: FaultServer, other: FaultServer) -> None:
    """A filesystem object given for an origin is used as it is, with its headers, session and decoding."""
    theirs = fsspec.filesystem("http", headers={"X-Theirs": "1"}, skip_instance_cache=True)
    store = store_of(server, {}, {other.url: theirs})
    root = f"{server.url}/m.json"
    for mode, span in [("good", SPAN), ("gzip-of-range", SPAN), ("range-of-stored-gzip", SPAN), ("good", WHOLE)]:
        url = f"{other.url}/{mode}/{span.start}"
        assert run(store.read, Request(url, span, root)).data == DATA[span.start : span.stop]
    assert {seen.headers.get("x-theirs") for seen in other.seen} == {"1"}


def test_asynchronous_filesystem_of_the_user(server: FaultServer, other: FaultServer) -> None:
    """A filesystem made with asynchronous=True is bound to no loop of ours: its twin is used."""
    theirs = fsspec.filesystem("http", headers={"X-Theirs": "1"}, asynchronous=True)
    store = store_of(server, {}, {"http": theirs})
    url = f"{other.url}/good/x"
    assert run(store.read, Request(url, SPAN, f"{server.url}/m.json")).data == DATA[100:200]
    assert other.seen[0].headers["x-theirs"] == "1"


def test_sessions_are_shared_by_stores(server: FaultServer) -> None:
    """Stores with equal options, in whatever order, share connections: opening a hundred does not open a hundred."""
    ports: set[Any] = set()

    async def peer(x: Exchange) -> None:
        ports.add(x.writer.get_extra_info("peername"))
        await x.good()

    server.modes["peer"] = peer
    options = {"headers": {"X-Mine": "1"}, "block_size": 1000}
    for i in range(10):
        ordered = options if i % 2 else dict(reversed(options.items()))
        run(store_of(server, ordered).read, Request(f"{server.url}/peer/x", SPAN))
    assert len(ports) == 1


def test_origins_are_told_apart_by_every_character() -> None:
    """URLs without a path, which differ in the last digit of the port, are different origins."""
    origins = Origins(StoreOptions("http://h:81", {"headers": {"Authorization": SECRET}}), Clock())
    readers = [run(origins.reader, url, None) for url in ("http://h:81", "http://h:82", "http://h:81")]
    assert readers[0] is not readers[1]
    assert readers[0] is readers[2]


def test_web_page_where_one_is_wanted(server: FaultServer) -> None:
    """An object that is named .html may be a web page."""
    assert run(store_of(server).read, Request(f"{server.url}/html-page/x.html")).data[:15] == b"<!DOCTYPE html>"


@pytest.mark.parametrize(("text", "seconds"), [(None, None), ("7", 7.0), (" 7 ", 7.0), ("soon", None), ("-1", None)])
def test_retry_after_seconds(text: str | None, seconds: float | None) -> None:
    """Retry-After is read as seconds; nonsense counts as none."""
    assert retry_after_s(text) == seconds


def test_retry_after_date() -> None:
    """Retry-After may be a date; one in the past means now."""
    later = (datetime.now(UTC) + timedelta(seconds=20)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    seconds = retry_after_s(later)
    assert seconds is not None
    assert 18 <= seconds <= 20
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
