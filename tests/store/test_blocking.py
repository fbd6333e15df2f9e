"""Filesystems that block: memory, archives, caches, one connection a thread."""

import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import fsspec
import pytest
from faultserver import DATA, FaultServer
from fsspec.implementations.dirfs import DirFileSystem

from slicedfs.errors import MissingTileError, StoreError
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.store.blocking import PathLocks
from slicedfs.testing import RecordingFileSystem
from slicedfs.url import canonical

SPANS = [WHOLE, ByteRange(0, 10), ByteRange(1000), ByteRange(262_000, 300_000)]


@pytest.fixture
def memory() -> Iterator[str]:
    """Give the URL of a directory in memory, with t.bin = DATA."""
    fs, name = fsspec.filesystem("memory"), uuid4().hex
    fs.pipe(f"/{name}/t.bin", DATA)
    yield f"memory://{name}"
    fs.rm(f"/{name}", recursive=True)


@pytest.fixture(params=["zip", "tar"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Give (protocol, path of an archive with d/t.bin and d/my%20t.bin)."""
    path = tmp_path / f"a.{request.param}"
    if request.param == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.writestr("d/t.bin", DATA)
            zipped.writestr("d/my%20t.bin", DATA)
    else:
        with tarfile.open(path, "w") as tarred:
            for name in ("d/t.bin", "d/my%20t.bin"):
                info = tarfile.TarInfo(name)
                info.size = len(DATA)
                tarred.addfile(info, io.BytesIO(DATA))
    return request.param, str(path)


@pytest.mark.parametrize("span", SPANS)
def test_memory(memory: str, span: ByteRange) -> None:
    """Objects in memory are read by ranges."""
    store = Store(StoreOptions(f"{memory}/m.json"))
    assert run(store.read, Request(f"{memory}/t.bin", span)).data == DATA[span.start : span.stop]


def test_memory_errors(memory: str) -> None:
    """Missing objects, ranges past the end and directories are errors of the right kind."""
    store = Store(StoreOptions(f"{memory}/m.json"))
    with pytest.raises(MissingTileError, match=r"none.bin: there is no such file \(1 try\)"):
        run(store.read, Request(f"{memory}/none.bin"))
    with pytest.raises(StoreError, match="byte 262144 is past the end of 262144 bytes"):
        run(store.read, Request(f"{memory}/t.bin", ByteRange(262_144, 262_150)))
    with pytest.raises(StoreError, match=r"could not be read: it is a directory, not a file|there is no such file"):
        run(store.read, Request(memory))


@pytest.mark.parametrize("span", SPANS)
def test_archive(archive: tuple[str, str], span: ByteRange) -> None:
    """Members of a local archive are read by ranges, under literal names too."""
    protocol, path = archive
    store = Store(StoreOptions(canonical(f"{protocol}://d/m.json::file://{path}")))
    for member in ("t.bin", "my%20t.bin"):
        url = f"{protocol}://d/{member}::file://{path}"
        assert run(store.read, Request(url, span)).data == DATA[span.start : span.stop]
    with pytest.raises(MissingTileError, match=rf"{protocol}://d/none.bin::file:.*: there is no such file"):
        run(store.read, Request(f"{protocol}://d/none.bin::file://{path}", span))


def test_missing_archive(tmp_path: Path) -> None:
    """An archive that is not there is reported for the member that was wanted."""
    store = Store(StoreOptions(f"zip://m.json::file://{tmp_path}/none.zip"))
    with pytest.raises(MissingTileError, match=r"zip://m.json::file://.*none.zip: there is no such file"):
        run(store.read, Request(f"zip://m.json::file://{tmp_path}/none.zip"))


def test_broken_archive(tmp_path: Path) -> None:
    """An archive that is none is a StoreError."""
    (tmp_path / "a.zip").write_bytes(b"no zip")
    store = Store(StoreOptions(f"zip://m.json::file://{tmp_path}/a.zip"))
    with pytest.raises(StoreError, match="could not be read: BadZipFile: File is not a zip file"):
        run(store.read, Request(f"zip://m.json::file://{tmp_path}/a.zip"))


def test_archive_by_many_at_once(archive: tuple[str, str]) -> None:
    """An archive has one position: concurrent reads of it do not disturb each other."""
    protocol, path = archive
    store = Store(StoreOptions(canonical(f"{protocol}://d/m.json::file://{path}")))
    got: dict[int, bytes] = {}

    async def consume(key: int, reply: Reply) -> None:
        got[key] = reply.data

    url = f"{protocol}://d/t.bin::file://{path}"
    run(store.fetch, ((i, Request(url, ByteRange(i * 997, i * 997 + 500))) for i in range(200)), consume)
    assert got == {i: DATA[i * 997 : i * 997 + 500] for i in range(200)}


def test_archive_on_a_server(archive: tuple[str, str]) -> None:
    """An archive on a web server is read by ranges of its own."""
    protocol, path = archive
    content = Path(path).read_bytes()

    async def serve(x: Any) -> None:
        start, stop = x.seen.byte_range or (0, len(content))
        stop = min(stop, len(content))
        told = {"Content_Range": f"bytes {start}-{stop - 1}/{len(content)}"} if x.seen.byte_range else {}
        await x.reply(206 if told else 200, content[start:stop], Accept_Ranges="bytes", **told)

    with FaultServer({"archive": serve}) as server:
        url = f"{protocol}://d/t.bin::{server.url}/archive/a"
        store = Store(StoreOptions(f"{protocol}://d/m.json::{server.url}/archive/a"))
        assert run(store.read, Request(url, ByteRange(5, 50))).data == DATA[5:50]


# fsspec's blockcache leaves its file to the garbage collector, and does not work on memory://.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <_io:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("cache", "inner"),
    [
        ("simplecache", "recording"),
        ("filecache", "recording"),
        ("blockcache", "recording"),
        ("simplecache", "memory"),
        ("filecache", "memory"),
    ],
)
def test_caches(tmp_path: Path, memory: str, cache: str, inner: str) -> None:
    """Through fsspec's caches every read is right, also by many readers of one file, and repeats are local."""
    fs = RecordingFileSystem(name=uuid4().hex)
    fs.files.update({"b/t.bin": DATA, "b/my%20t.bin": DATA})
    fs.delay_s = 0.002
    base = "recording://b" if inner == "recording" else memory
    options = {"recording": {"name": fs.name}, cache: {"cache_storage": str(tmp_path)}}
    store = Store(StoreOptions(f"{cache}::{base}/m.json", options))
    got: dict[int, bytes] = {}

    async def consume(key: int, reply: Reply) -> None:
        got[key] = reply.data

    url = f"{cache}::{base}/t.bin"
    run(store.fetch, ((i, Request(url, ByteRange(i, i + 1000))) for i in range(50)), consume)
    assert got == {i: DATA[i : i + 1000] for i in range(50)}
    fs.clear()
    assert run(store.read, Request(url)) == Reply(DATA, len(DATA), None)
    assert fs.log == []
    with pytest.raises(MissingTileError, match=r"none.bin: there is no such file"):
        run(store.read, Request(f"{cache}::{base}/none.bin"))
    fs.reset()


class FTPFileSystem(fsspec.AbstractFileSystem):
    """Like fsspec's: one connection, which must be used by one thread, one request at a time."""

    protocol = "onethread"
    cachable = True
    files: ClassVar[dict[str, bytes]] = {"h/t.bin": DATA}
    made: ClassVar[int] = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        type(self).made += 1
        self._owner = threading.get_ident()
        self._busy = threading.Lock()

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        assert threading.get_ident() == self._owner, "used by a thread that did not make it"
        assert self._busy.acquire(blocking=False), "used by two at once"
        try:
            time.sleep(0.001)
            return self.files[self._strip_protocol(path)][start:end]
        finally:
            self._busy.release()

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": len(self.files[self._strip_protocol(path)]), "type": "file"}


def test_one_connection_a_thread() -> None:
    """Filesystems with one connection get one instance a thread."""
    fsspec.register_implementation("onethread", FTPFileSystem, clobber=True)
    store = Store(StoreOptions("onethread://h/m.json"))
    got: dict[int, bytes] = {}

    async def consume(key: int, reply: Reply) -> None:
        got[key] = reply.data

    run(store.fetch, ((i, Request("onethread://h/t.bin", ByteRange(i, i + 10))) for i in range(200)), consume)
    assert got == {i: DATA[i : i + 10] for i in range(200)}
    assert 2 <= FTPFileSystem.made <= 1 + 32


def test_directory_filesystem_of_the_user(tmp_path: Path, memory: str) -> None:
    """A DirFileSystem is read in the way of what it wraps, which need not be async."""
    wrapped = DirFileSystem(memory.removeprefix("memory:/"), fsspec.filesystem("memory"))
    store = Store(StoreOptions(canonical(tmp_path / "m.json"), {}, {"s3://b/": wrapped}))
    # The filesystem stands for the whole protocol: it gets the key as it is.
    fsspec.filesystem("memory").pipe(f"{memory.removeprefix('memory:/')}/b/k.bin", b"inner")
    assert run(store.read, Request("s3://b/k.bin", WHOLE, canonical(tmp_path / "m.json"))).data == b"inner"


def test_path_locks_are_forgotten() -> None:
    """A lock lives while somebody holds it or waits for it, so that a million paths cost nothing."""
    locks = PathLocks()
    first, second, other = locks.take("a"), locks.take("a"), locks.take("b")
    assert first is second
    assert first is not other
    locks.give("a")
    assert locks.take("a") is first
    for path in ("a", "a", "b"):
        locks.give(path)
    assert locks.take("a") is not first
