"""The wire on real sockets: connections used again, given up and closed; addresses, TLS, fork; options."""

import asyncio
import datetime
import gc
import ipaddress
import multiprocessing
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from faultserver import DATA, Exchange, FaultServer

from slicedfs.errors import StoreError, UrlPolicyError
from slicedfs.policy import UrlPolicy
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Request, Store, StoreOptions, run
from slicedfs.store.retry import Clock, TryError
from slicedfs.store.web import Session
from slicedfs.store.wire import client as clients
from slicedfs.store.wire import dial, pool
from slicedfs.store.wire.client import Client, request_bytes
from slicedfs.store.wire.connection import Answer, Decide, Take
from slicedfs.store.wire.heads import Head
from slicedfs.store.wire.pool import Origin

SPAN = ByteRange(100, 200)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


class Peer:
    """A server on the running loop that answers by a function, and counts connections and requests."""

    def __init__(self, answer: Callable[[int, asyncio.StreamWriter], Awaitable[bool]]) -> None:
        self.connections = self.requests = 0
        self.port = 0
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, until the function says no more."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                if not await self._answer(self.requests, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def stop(self) -> None:
        """Let no connection linger."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(
    answer: Callable[[int, asyncio.StreamWriter], Awaitable[bool]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[Peer]:
    peer = Peer(answer)
    server = await asyncio.start_server(peer.accept, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        await peer.stop()


def says(data: bytes, *, more: bool = True) -> Callable[[int, asyncio.StreamWriter], Awaitable[bool]]:
    async def answer(number: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return more

    return answer


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Give a client on the test's loop; nothing of it is left open."""
    made = Client(5.0)
    yield made
    made.close()
    await asyncio.sleep(0)  # the transports close themselves in the next round
    await asyncio.sleep(0)


async def no_room(head: Head) -> None:
    pass


def get(client: Client, port: int, decide: Decide = lambda head: Take(), **options: Any) -> Awaitable[Answer]:
    origin = options.pop("origin", None) or Origin(is_tls=False, host="127.0.0.1", port=port)
    return client.get(origin, request_bytes("/x", b"Host: x\r\n"), decide, options.pop("room", no_room))


async def test_connections_are_used_again(client: Client) -> None:
    """Requests one after the other go over one connection; three at a time over three, which serve later ones too."""
    async with serving(says(GOOD)) as peer:
        for _ in range(5):
            assert (await get(client, peer.port)).body == b"ok"
        assert (peer.connections, peer.requests) == (1, 5)
        for _ in range(3):
            await asyncio.gather(*(get(client, peer.port) for _ in range(3)))
        assert (peer.connections, peer.requests) == (3, 14)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
async def test_connections_that_end(client: Client, reply: bytes) -> None:
    """A connection that the server wants to close is not used again."""
    async with serving(says(reply)) as peer:
        for _ in range(3):
            assert (await get(client, peer.port)).body == b"ok"
        assert peer.connections == 3


async def test_a_closed_idle_connection_costs_no_error(client: Client) -> None:
    """A connection that the server closes instead of answering its second request is replaced at once."""

    async def once(number: int, writer: asyncio.StreamWriter) -> bool:
        if number % 2 == 0:
            return False  # without a byte
        writer.write(GOOD)
        return True

    async with serving(once) as peer:
        assert [(await get(client, peer.port)).body for _ in range(3)] == [b"ok"] * 3
        assert (peer.connections, peer.requests) == (3, 5)


async def test_a_new_connection_that_is_closed_is_an_error(client: Client) -> None:
    """A connection closed before its first reply is a failed try."""
    async with serving(says(b"", more=False)) as peer:
        with pytest.raises(ConnectionResetError, match="the server closed the connection before a reply came"):
            await get(client, peer.port)
        assert peer.requests == 1


async def test_cancelled_requests_close_their_connection(client: Client) -> None:
    """A request that is cancelled ends its connection, since the reply would still come; others go on."""
    stuck = asyncio.Event()

    async def answer(number: int, writer: asyncio.StreamWriter) -> bool:
        if number == 1:
            stuck.set()
            await asyncio.sleep(3600)
        writer.write(GOOD)
        return True

    async with serving(answer) as peer:
        first = asyncio.ensure_future(get(client, peer.port))
        await stuck.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await get(client, peer.port)).body == b"ok"
        assert (peer.connections, peer.requests) == (2, 2)


async def test_what_the_judge_of_a_head_raises_is_raised(client: Client) -> None:
    """A head that is refused ends its connection, before the body is read."""

    def refuse(head: Head) -> Take:
        raise LookupError(f"not {head.status}")

    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n")) as peer:
        with pytest.raises(LookupError, match="not 200"):
            await get(client, peer.port, refuse)
        assert not next(iter(client._pools.values()))._working


async def test_room_is_asked_for_with_the_size(client: Client) -> None:
    """Where a body waits for room, the head is handed over first; the body comes once there is room, in one buffer."""
    body = bytes(range(256)) * 4000
    asked: list[int | None] = []

    async def room(head: Head) -> None:
        asked.append(head.length)
        await asyncio.sleep(0.01)

    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1024000\r\n\r\n" + body)) as peer:
        answer = await get(client, peer.port, lambda head: Take(waits=True), room=room)
        assert asked == [1_024_000]
        assert isinstance(answer.body, memoryview)
        assert (answer.body.format, answer.body.ndim, answer.body) == ("B", 1, body)


async def test_room_that_is_refused(client: Client) -> None:
    """What fails while it waits for room leaves no connection at work."""

    async def room(head: Head) -> None:
        raise LookupError("no room")

    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nabc")) as peer:
        with pytest.raises(LookupError, match="no room"):
            await get(client, peer.port, lambda head: Take(waits=True), room=room)
        assert not next(iter(client._pools.values()))._working


async def test_a_stall_is_noticed() -> None:
    """A server that falls silent, before the head or within a body, is given up after the time for it."""
    client = Client(0.2)
    for begun in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\nabc"):

        async def answer(number: int, writer: asyncio.StreamWriter, begun: bytes = begun) -> bool:
            writer.write(begun)
            await asyncio.sleep(3600)
            return False

        async with serving(answer) as peer:
            with pytest.raises(TimeoutError, match=r"no byte came in 0\.2 s"):
                await get(client, peer.port)
    client.close()
    await asyncio.sleep(0)


async def test_idle_connections_are_closed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody uses for a while is closed, and the memory kept for bodies is given back."""
    monkeypatch.setattr(pool, "IDLE_S", 0.05)
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))) as peer:
        assert len((await get(client, peer.port)).body) == 100_000
        while peer._tasks:  # noqa: ASYNC110 - until the server sees the end of it
            await asyncio.sleep(0.01)
        assert client.buffers._bytes == 0
        assert len((await get(client, peer.port)).body) == 100_000
        assert peer.connections == 2


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Give a table of names that holds beside the system's; each look-up is noted under ""."""
    table: dict[str, list[str]] = {"": []}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in table:
            return real(host, port, *args, **options)
        table[""].append(host)
        return [found for address in table[host] for found in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return table


async def test_names_are_resolved_once(client: Client, names: dict[str, list[str]]) -> None:
    """Many connections to one name at a time cost one look-up; after a failure to connect it is looked up anew."""
    names["many.example.org"] = ["127.0.0.1"]
    async with serving(says(GOOD)) as peer:
        origin = Origin(is_tls=False, host="many.example.org", port=peer.port)
        await asyncio.gather(*(get(client, 0, origin=origin) for _ in range(8)))
        assert names[""] == ["many.example.org"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = Origin(is_tls=False, host="many.example.org", port=free.getsockname()[1])
        for _ in range(2):
            with pytest.raises(ConnectionError, match=r"cannot connect to many\.example\.org port [0-9]+: "):
                await get(client, 0, origin=gone)
    assert names[""] == ["many.example.org"] * 3


async def test_all_addresses_are_tried(client: Client, names: dict[str, list[str]]) -> None:
    """Where the first address of a name refuses, the next is tried; where all do, the first one's error is told."""
    names["two.example.org"] = ["127.0.0.2", "127.0.0.1"]
    async with serving(says(GOOD)) as peer:
        origin = Origin(is_tls=False, host="two.example.org", port=peer.port)
        assert (await get(client, 0, origin=origin)).body == b"ok"
        names["none.example.org"] = ["127.0.0.2", "127.0.0.3"]
        with pytest.raises(ConnectionError, match=r"Connect call failed \('127\.0\.0\.2'"):
            await get(client, 0, origin=Origin(is_tls=False, host="none.example.org", port=peer.port))


async def test_unknown_names(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not exist is an error that another try may help."""

    def unknown(*args: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConnectionError, match=r"cannot connect to no\.invalid port 80: .*Name or service not known"):
        await get(client, 0, origin=Origin(is_tls=False, host="no.invalid", port=80))


async def test_every_address_is_checked(names: dict[str, list[str]]) -> None:
    """The policy sees each address of a name before anything is sent, also where the look-up is a remembered one."""
    policy, seen = UrlPolicy(), []

    def check(host: str, address: str) -> None:
        seen.append((host, address))
        policy.check_address(host, address, "https://data.example.com/m.json")

    client = Client(5.0, check)
    names["in.example.org"] = ["127.0.0.1"]
    async with serving(says(GOOD)) as peer:
        origin = Origin(is_tls=False, host="in.example.org", port=peer.port)
        for _ in range(2):
            with pytest.raises(UrlPolicyError, match=r"leads to host 'in\.example\.org', but '127\.0\.0\.1' is"):
                await get(client, 0, origin=origin)
        assert (peer.connections, seen) == (0, [("in.example.org", "127.0.0.1")] * 2)
    client.close()


async def test_sockets_of_losers_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a later address is faster, the connection to the slow one is given up, and its socket closed."""
    monkeypatch.setattr(dial, "_NEXT_S", 0.01)
    made: list[socket.socket] = []
    real = dial._connect_one

    async def slow(address: Any) -> socket.socket:
        if address[1][0] == "127.0.0.2":
            await asyncio.sleep(3600)
        made.append(await real(address))
        return made[-1]

    monkeypatch.setattr(dial, "_connect_one", slow)
    async with serving(says(GOOD)) as peer:
        addresses = [(socket.AF_INET, (host, peer.port)) for host in ("127.0.0.2", "127.0.0.1")]
        won = await dial.connect(addresses)
        assert (made, won.getpeername()) == ([won], ("127.0.0.1", peer.port))
        won.close()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """Return (a server's TLS with a certificate for `name` and 127.0.0.1, the file of the certificate)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    return context, str(pem)


async def test_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]], client: Client
) -> None:
    """Over TLS bodies of any size come whole, over one connection; another name, or an unknown issuer, is refused."""
    names |= {"tls.example.org": ["127.0.0.1"], "other.example.org": ["127.0.0.1"]}
    server, issuer = certificate(tmp_path, "tls.example.org")
    body = bytes(range(256)) * 8000
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2048000\r\n\r\n" + body
    async with serving(says(reply), server) as peer:
        monkeypatch.setattr(clients, "_tls", None)
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate"):
            await get(client, 0, origin=Origin(is_tls=True, host="tls.example.org", port=peer.port))
        monkeypatch.setattr(clients, "_tls", None)
        monkeypatch.setenv("SSL_CERT_FILE", issuer)
        for _ in range(3):
            answer = await get(client, 0, origin=Origin(is_tls=True, host="tls.example.org", port=peer.port))
            assert answer.body == body
        assert peer.requests == 3
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await get(client, 0, origin=Origin(is_tls=True, host="other.example.org", port=peer.port))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """Give a fault server."""
    with FaultServer() as server:
        yield server


def store_of(server: FaultServer, options: dict[str, Any] | None = None, **more: Any) -> Store:
    return Store(StoreOptions(f"{server.url}/m.json", options or {}, **more), Clock(sleep=no_sleep))


@pytest.mark.parametrize(
    ("options", "by_wire"),
    [
        ({}, True),
        ({"headers": {"X-Mine": "1"}, "block_size": 1 << 20, "cache_type": "readahead"}, True),
        ({"client_kwargs": {"headers": {"X-Mine": "1"}}, "use_listings_cache": True, "encoded": True}, True),
        ({"client_kwargs": {"trust_env": False}}, False),
        ({"client_kwargs": {"cookies": {"a": "b"}}}, False),
        ({"ssl": False}, False),
        ({"timeout": 5}, False),
        ({"cookies": {"a": "b"}}, False),
    ],
)
def test_which_options_the_wire_serves(server: FaultServer, options: dict[str, Any], by_wire: bool) -> None:
    """What concerns headers and caches goes over the wire; what concerns the transport goes over aiohttp."""
    assert run(store_of(server, options).read, Request(f"{server.url}/good/x", SPAN)).data == DATA[100:200]
    seen = server.seen[0].headers
    assert seen["user-agent"].startswith("slicedfs/") is by_wire
    assert seen.get("x-mine", "") == ("1" if "X-Mine" in str(options) else "")
    assert (seen["host"], seen["accept"], seen["accept-encoding"]) == (server.url[7:], "*/*", "identity")


def test_a_filesystem_of_the_user_keeps_its_session(server: FaultServer) -> None:
    """A filesystem that the user hands over is read by its own session, whatever that may be."""
    theirs = fsspec.filesystem("http", skip_instance_cache=True)
    store = Store(StoreOptions("file:///m.json", {}, {server.url: theirs}), Clock(sleep=no_sleep))
    assert run(store.read, Request(f"{server.url}/good/x", SPAN, "file:///m.json")).data == DATA[100:200]
    assert "aiohttp" in server.seen[0].headers["user-agent"]


def test_headers_of_the_request_win(server: FaultServer) -> None:
    """Headers given for requests stand in for those of the session, in any case of letters."""
    options = {"client_kwargs": {"headers": {"x-mine": "1", "X-Else": "2"}}, "headers": {"X-MINE": "3"}}
    run(store_of(server, options).read, Request(f"{server.url}/good/x", SPAN))
    assert (server.seen[0].headers["x-mine"], server.seen[0].headers["x-else"]) == ("3", "2")


def test_headers_with_line_breaks_are_refused(server: FaultServer) -> None:
    """A header that would smuggle another one in is an error; nothing is sent."""
    store = store_of(server, {"headers": {"X-Mine": "canary-7\r\nX-Other: 1"}})
    with pytest.raises(StoreError, match=r"could not be read: ValueError") as caught:
        run(store.read, Request(f"{server.url}/good/x", SPAN))
    assert "canary-7" not in str(caught.value)
    assert server.seen == []


def test_redirects_that_set_cookies(server: FaultServer) -> None:
    """A redirect that sets a cookie wants it back: from then on aiohttp, which keeps cookies, asks that server."""

    async def login(x: Exchange) -> None:
        await x.reply(302, Location="/good/there", Set_Cookie="session=1")

    server.modes["login"] = login
    store = store_of(server)
    for _ in range(2):
        assert run(store.read, Request(f"{server.url}/login/x", SPAN)).data == DATA[100:200]
    agents = ["aiohttp" in seen.headers["user-agent"] for seen in server.seen]
    assert agents == [False, True, True, True, True]


def test_connections_go_with_their_filesystem(server: FaultServer) -> None:
    """When a filesystem is collected, on any thread, its connections are closed."""
    filesystem = fsspec.filesystem("http", get_client=Session(5.0), skip_instance_cache=True)
    gone = threading.Event()

    async def watched(x: Exchange) -> None:
        await x.good()
        transport = x.writer.transport
        protocol = transport.get_protocol()
        lost = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            lost(error)
            gone.set()

        protocol.connection_lost = connection_lost  # type: ignore[method-assign]

    server.modes["watched"] = watched
    store = Store(StoreOptions("file:///m.json", {}, {server.url: filesystem}), Clock(sleep=no_sleep))
    run(store.read, Request(f"{server.url}/watched/x", SPAN, "file:///m.json"))
    assert "slicedfs/" in server.seen[0].headers["user-agent"]
    assert not gone.is_set()
    assert filesystem in clients._clients
    known = len(clients._clients)
    del filesystem, store
    while not gone.wait(0.05):  # the I/O thread may still hold it for a moment; the test's own timeout bounds this
        gc.collect()
    assert len(clients._clients) < known


def _read_in_child(url: str, results: Any) -> None:
    reply = run(Store(StoreOptions(f"{url}/m.json")).read, Request(f"{url}/good/child", SPAN))
    results.put(bytes(reply.data))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork(server: FaultServer) -> None:
    """A forked child reads over connections of its own, and those of the parent go on working."""
    store = store_of(server)
    ports: list[Any] = []

    async def peer(x: Exchange) -> None:
        ports.append(x.writer.get_extra_info("peername")[1])
        await x.good()

    server.modes["peer"] = peer
    run(store.read, Request(f"{server.url}/peer/before", SPAN))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_read_in_child, args=(server.url, results))
    child.start()
    assert results.get(timeout=60) == DATA[100:200]
    child.join(60)
    assert child.exitcode == 0
    run(store.read, Request(f"{server.url}/peer/after", SPAN))
    assert ports[0] == ports[1]


def test_nothing_is_left_open(server: FaultServer) -> None:
    """Reads that succeed, fail and are cancelled, one after the other, leave one idle connection, or none."""
    filesystem = fsspec.filesystem("http", get_client=Session(1.0), skip_instance_cache=True)
    options = StoreOptions("file:///m.json", {}, {server.url: filesystem}, max_tries=2)

    async def all_kinds(store: Store) -> list[Any]:
        modes = ["good", "404", "reset-halfway", "stall-after-100-once", "close-halfway", "half-without-length", "good"]
        requests = [Request(f"{server.url}/{mode}/left", SPAN, "file:///m.json") for mode in modes]
        found = [await asyncio.gather(store.read(request), return_exceptions=True) for request in requests]
        (only,) = clients._clients[filesystem]._pools.values()
        assert (len(only._working), len(only._idle)) == (0, 1)
        path = "/stall-before-headers-once/cancelled"
        task = asyncio.ensure_future(store.read(Request(f"{server.url}{path}", WHOLE, "file:///m.json")))
        while not server.counts[path]:  # noqa: ASYNC110 - it counts in another thread
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (len(only._working), len(only._idle)) == (0, 0)
        return found

    found = run(all_kinds, Store(options, Clock(sleep=no_sleep)))
    assert found[0][0].data == found[-1][0].data == DATA[100:200]


def test_garbage_is_named(server: FaultServer) -> None:
    """A server that does not speak HTTP is an error that quotes what it said."""

    async def garbage(x: Exchange) -> None:
        await x.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        x.close()

    server.modes["garbage"] = garbage
    with pytest.raises(StoreError, match=r"not HTTP: the reply begins with 'SSH-2\.0-OpenSSH.*2 tries"):
        run(store_of(server, max_tries=2).read, Request(f"{server.url}/garbage/x", SPAN))


async def test_errors_are_tries() -> None:
    """What is wrong with a reply is a TryError, which says whether another try may help."""
    client = Client(5.0)
    async with serving(says(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")) as peer:
        with pytest.raises(TryError, match="not HTTP: Content-Length is 'x'") as caught:
            await get(client, peer.port)
        assert caught.value.verdict.again
    client.close()
