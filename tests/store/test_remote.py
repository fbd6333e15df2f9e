"""Object stores: real emulators, and the 37 faults over the libraries' own clients."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import fsspec
import pytest
from faultserver import DATA, MODES, OTHER, Exchange, FaultServer

from slicedfs.errors import MissingExtraError, MissingTileError, StoreError, UrlPolicyError
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store.retry import Clock
from slicedfs.testing import RecordingFileSystem

SPANS = [WHOLE, ByteRange(0, 10), ByteRange(1000, 201_000), ByteRange(262_000), ByteRange(262_000, 300_000)]
MAY_FAIL = {  # in all other modes the bytes must come
    "401-once",
    "64-bytes-too-many",
    "replaced-between-reads",
    "replaced-on-the-way",
    "range-of-stored-gzip",
    "drip",
    "half-without-length",
    "half-with-length",
    "shifted-by-500",
    "html-page",
    "bit-flip",
}
MUST_FAIL = {"404", "403", "reset-halfway", "close-halfway", "redirect-loop", "redirect-to-file"}
ODD_NAMES = ["a b.bin", "a#1.bin", "a?b.bin", "%41.bin", "é.bin", "a+b.bin", "a::b.bin"]


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory with t.bin and odd names."""
    directory = tmp_path_factory.mktemp("tree")
    (directory / "t.bin").write_bytes(DATA)
    for name in ODD_NAMES:
        (directory / name).write_bytes(name.encode())
    return directory


class Bucket:
    """A bucket on an emulator, and a store for it."""

    def __init__(self, server: Any, tree: Path) -> None:
        self.server = server
        self.url = server.put_tree(tree, server.new_bucket())
        self.store = Store(StoreOptions(f"{self.url}/m.json", server.storage_options))
        server.clear()

    def read(self, name: str, span: ByteRange = WHOLE) -> Reply:
        return run(self.store.read, Request(f"{self.url}/{name}", span))


@pytest.fixture(params=["s3_server", "gcs_server", "azure_server"])
def bucket(request: pytest.FixtureRequest, tree: Path) -> Bucket:
    """Give a bucket on every kind of object store."""
    return Bucket(request.getfixturevalue(request.param), tree)


@pytest.mark.parametrize("span", SPANS)
def test_one_request_a_range(bucket: Bucket, span: ByteRange) -> None:
    """Every range, and every whole object, is exactly one GET; what the end cuts off may cost a look at the size."""
    assert bucket.read("t.bin", span).data == DATA[span.start : span.stop]
    gets = [request for request in bucket.server.requests if request.method == "GET"]
    assert len(gets) == 1
    assert len(bucket.server.requests) == 1 or (span.stop or 0) > len(DATA) or bucket.server.protocol == "abfs"


def test_missing_object(bucket: Bucket) -> None:
    """A missing object is a MissingTileError after one try."""
    with pytest.raises(MissingTileError, match=r"none\.bin: there is no such file \((HTTP status 404, )?1 try\)"):
        bucket.read("none.bin")
    assert len(bucket.server.requests) == 1


@pytest.mark.parametrize("fixture", ["s3_server", "azure_server"])  # the emulator of GCS stores no empty objects
def test_empty_object(request: pytest.FixtureRequest, tmp_path: Path, fixture: str) -> None:
    """An empty object is empty, also by a range from its start."""
    (tmp_path / "empty.bin").write_bytes(b"")
    bucket = Bucket(request.getfixturevalue(fixture), tmp_path)
    assert bucket.read("empty.bin").data == b""
    assert bucket.read("empty.bin", ByteRange(0, 16)).data == b""


def test_past_the_end(bucket: Bucket) -> None:
    """A range past the end is an error at once, never other bytes."""
    with pytest.raises(StoreError, match=r"(416|past the end).*1 try"):
        bucket.read("t.bin", ByteRange(262_144, 262_150))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(bucket: Bucket, name: str) -> None:
    """Keys with any characters are read by their encoded URL, in one request."""
    assert bucket.read(quote(name)).data == name.encode()
    assert len(bucket.server.requests) == 1


def test_version(bucket: Bucket) -> None:
    """Object stores that tell a version: equal for two ranges of one object."""
    first, second = (bucket.read("t.bin", ByteRange(0, stop)).etag for stop in (10, 20))
    assert first == second
    # adlfs does not hand it over, and the emulator of GCS has none
    assert (first is not None) == (bucket.server.protocol == "s3")


def test_version_of_google(server: FaultServer) -> None:
    """The version of an object on GCS is its generation, else its ETag."""

    async def with_generation(x: Exchange) -> None:
        await x.good(x_goog_generation="1700000000000001")

    server.modes["generation"] = with_generation
    for mode, etag in [("good", f'"{DATA[:4].hex()}"'), ("generation", "1700000000000001")]:
        assert run(gcs_store(server, mode).read, Request(f"gs://{mode}/v", ByteRange(0, 9))).etag == etag


def test_anonymous_references(s3_server: Any, tree: Path) -> None:
    """Another bucket is read with the entry in filesystems, without a signature."""
    url = s3_server.put_tree(tree, s3_server.new_bucket(), public=True)
    store = Store(StoreOptions("file:///m.json", {}, {url: s3_server.anonymous_options}))
    s3_server.clear()
    assert run(store.read, Request(f"{url}/t.bin", source="file:///m.json")).data == DATA
    assert ["authorization" in request.headers for request in s3_server.requests] == [False]


def test_refusal_has_a_hint(s3_server: Any, tree: Path) -> None:
    """A refused object is an error at once, with what to do about it."""
    url = s3_server.put_tree(tree, s3_server.new_bucket())
    store = Store(StoreOptions(f"{url}/m.json", s3_server.anonymous_options))
    with pytest.raises(StoreError, match=r"HTTP status 403 .*for a public bucket pass .*requester_pays") as caught:
        run(store.read, Request(f"{url}/t.bin"))
    assert (caught.value.status, caught.value.tries) == (403, 1)
    assert not isinstance(caught.value, MissingTileError)


def test_s3_uses_as_many_connections_as_asked_for(s3_server: Any, tree: Path) -> None:
    """32 requests at a time really are under way (s3fs by itself makes ten)."""
    url = s3_server.put_tree(tree, s3_server.new_bucket())
    store = Store(StoreOptions(f"{url}/m.json", s3_server.storage_options, concurrency=32))
    s3_server.clear()
    s3_server.delay_s = 0.2

    async def ignore(key: object, reply: object) -> None:
        pass

    run(store.fetch, ((i, Request(f"{url}/t.bin", ByteRange(i, i + 1))) for i in range(64)), ignore)
    assert s3_server.max_in_flight == 32


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Give a fault server that stands in for an object store."""
    with FaultServer() as server:
        yield server


def s3_store(server: FaultServer, mode: str) -> Store:
    options = {"key": "k", "secret": "s", "endpoint_url": server.url, "client_kwargs": {"region_name": "us-east-1"}}
    tries = 2 if mode == "drip" else 5  # each takes its time
    return Store(StoreOptions(f"s3://{mode}/m.json", options, stall_s=0.3, max_tries=tries), Clock(sleep=no_sleep))


def gcs_store(server: FaultServer, mode: str) -> Store:
    options = {"token": "anon", "endpoint_url": server.url, "project": "test"}
    return Store(StoreOptions(f"gs://{mode}/m.json", options, stall_s=0.15), Clock(sleep=no_sleep))


def http_store(server: FaultServer, mode: str) -> Store:
    return Store(StoreOptions(f"{server.url}/{mode}/m.json"), Clock(sleep=no_sleep))


@pytest.mark.parametrize("make", [http_store, s3_store, gcs_store], ids=["http", "s3", "gcs"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_one_retry_layer(server: FaultServer, make: Callable[[FaultServer, str], Store], status: int) -> None:
    """A persistent failure costs five requests in all: the libraries' own retries are off."""

    async def fails(x: Exchange) -> None:
        await x.reply(status, b"no")

    server.modes[f"{status}-always"] = fails
    store, key = make(server, f"{status}-always"), uuid4().hex
    url = store.options.root.replace("m.json", key)
    with pytest.raises(StoreError, match=rf"{key}: could not be read: HTTP status {status} .*5 tries\)"):
        run(store.read, Request(url, ByteRange(0, 10)))
    assert len([seen for seen in server.seen if key in seen.path]) == 5


def test_empty_object_of_google(server: FaultServer) -> None:
    """A range from the start of an empty object, which servers refuse, is empty; one further on is an error."""

    async def empty(x: Exchange) -> None:
        if x.seen.byte_range is None:
            await x.reply(200, b"")
        else:
            await x.reply(416, b"InvalidRange", Content_Range="bytes */0")

    server.modes["empty"] = empty
    store = gcs_store(server, "empty")
    assert run(store.read, Request("gs://empty/x")).data == b""
    assert run(store.read, Request("gs://empty/x", ByteRange(0, 16))).data == b""
    with pytest.raises(StoreError, match=r"HTTP status 416 .*1 try"):
        run(store.read, Request("gs://empty/x", ByteRange(1, 16)))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [s3_store, gcs_store], ids=["s3", "gcs"])
def test_faults(server: FaultServer, make: Callable[[FaultServer, str], Store], mode: str) -> None:
    """Over s3fs and gcsfs the 37 faults give the right bytes or an error, as over http, and no second layer retries."""
    scheme = "s3" if make is s3_store else "gs"
    # The time for a try grows with the bytes: little is asked of servers that take all of it.
    span = ByteRange(1000, 3000) if mode == "drip" or mode.startswith("stall") else ByteRange(1000, 201_000)
    expected = {"replaced-on-the-way": OTHER, "bit-flip": DATA[:100_000] + bytes([DATA[100_000] ^ 1]) + DATA[100_001:]}
    key = uuid4().hex
    store = make(server, mode)
    request = Request(f"{scheme}://{mode}/{key}", span)
    if mode in MUST_FAIL:
        with pytest.raises(StoreError, match=rf"{scheme}://{mode}/{key}: "):
            run(store.read, request)
    else:
        try:
            data = run(store.read, request).data
        except StoreError as error:
            assert mode in MAY_FAIL
            assert f"{scheme}://{mode}/{key}: could not be read" in str(error)  # noqa: PT017
        else:
            assert data == expected.get(mode, DATA)[span.start : span.stop]
    seen = [request for request in server.seen if key in request.path]
    # Their clients follow ten redirects.
    assert 1 <= len(seen) <= (11 if mode.startswith("redirect") else 6)


@pytest.mark.parametrize(
    ("scheme", "module", "extra"),
    [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs"), ("abfs", "adlfs", "azure")],
)
def test_missing_library(monkeypatch: pytest.MonkeyPatch, scheme: str, module: str, extra: str) -> None:
    """Without the library for a protocol the error names the extra to install."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    store = Store(StoreOptions(f"{scheme}://b/m.json", {"token": "x"}))
    with pytest.raises(MissingExtraError, match=rf"{module} is not installed. Install slicedfs\[{extra}\]"):
        run(store.read, Request(f"{scheme}://b/m.json"))


def test_unknown_protocol() -> None:
    """A protocol that fsspec does not know is an error that names it."""
    store = Store(StoreOptions("nonsense://b/m.json"))
    with pytest.raises(StoreError, match=r"nonsense://b/m.json: fsspec does not know the protocol 'nonsense'"):
        run(store.read, Request("nonsense://b/m.json"))


def test_foreign_protocols_need_no_library(server: FaultServer) -> None:
    """The policy is asked before a filesystem is made for a reference."""
    store = Store(StoreOptions(f"{server.url}/m.json"))
    with pytest.raises(UrlPolicyError, match="'memory' is not allowed from there"):
        run(store.read, Request("memory://x", source=f"{server.url}/m.json"))


class TestRecording:
    """Any other async filesystem, by the recording one."""

    @pytest.fixture
    def fs(self) -> Iterator[RecordingFileSystem]:
        filesystem = RecordingFileSystem(name=uuid4().hex)
        filesystem.files["b/t.bin"] = DATA
        yield filesystem
        filesystem.reset()

    @staticmethod
    def read(fs: RecordingFileSystem, span: ByteRange = WHOLE, **options: Any) -> Reply:
        made = StoreOptions("recording://b/m.json", {"name": fs.name}, **options)
        return run(Store(made, Clock(sleep=no_sleep)).read, Request("recording://b/t.bin", span))

    @pytest.mark.parametrize("span", SPANS)
    def test_ranges(self, fs: RecordingFileSystem, span: ByteRange) -> None:
        """Ranges are read as slices, by one request of exactly that range."""
        assert self.read(fs, span).data == DATA[span.start : span.stop]
        assert fs.log == [("b/t.bin", None if span.is_whole else span.start, span.stop)]

    @pytest.mark.parametrize(
        "fault",
        [ConnectionResetError("x"), TimeoutError(), fsspec.exceptions.FSTimeoutError(), 50],
    )
    def test_passing_faults(self, fs: RecordingFileSystem, fault: Any) -> None:
        """Timeouts, resets and short replies are tried again."""
        fs.fail("b/t.bin", fault, fault)
        assert self.read(fs, ByteRange(0, 100)).data == DATA[:100]
        assert len(fs.log) == 3

    @pytest.mark.parametrize("fault", [ConnectionResetError("x"), 50])
    def test_lasting_faults(self, fs: RecordingFileSystem, fault: Any) -> None:
        """A fault that stays is an error after max_tries, which names URL, range and tries."""
        fs.fail("b/t.bin", *[fault] * 9)
        with pytest.raises(StoreError, match=r"recording://b/t.bin: could not be read: .*\(bytes 0-99, 3 tries\)"):
            self.read(fs, ByteRange(0, 100), max_tries=3)
        assert len(fs.log) == 3

    @pytest.mark.parametrize("fault", [PermissionError("no"), ValueError("bad"), OSError(28, "No space left")])
    def test_final_faults(self, fs: RecordingFileSystem, fault: Exception) -> None:
        """Other errors are reported at once."""
        fs.fail("b/t.bin", fault)
        with pytest.raises(StoreError, match=rf"could not be read: {type(fault).__name__}: .*\(bytes 0-99, 1 try\)"):
            self.read(fs, ByteRange(0, 100))
        assert len(fs.log) == 1

    def test_stalled_try(self, fs: RecordingFileSystem) -> None:
        """A filesystem that never answers is given up after the time for a try."""
        fs.delay_s = 3600
        with pytest.raises(StoreError, match=r"no answer in time \(bytes 0-99, 2 tries\)"):
            self.read(fs, ByteRange(0, 100), max_tries=2, stall_s=0.02)
        assert fs.in_flight == 0
