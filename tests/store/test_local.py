"""Local files: regular ones only."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from slicedfs.errors import MissingTileError, StoreError
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.testing import RecordingFileSystem
from slicedfs.url import canonical

DATA = bytes(range(256)) * 4
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Reply]:
    """Give ``read(path, byte_range)``, by a store with a root in tmp_path."""
    store = Store(StoreOptions(canonical(tmp_path / "m.json")))
    return lambda path, byte_range=WHOLE: run(store.read, Request(canonical(path), byte_range))


@pytest.mark.parametrize("span", [WHOLE, ByteRange(0, 10), ByteRange(1000), ByteRange(1000, 5000), ByteRange(5, 5)])
def test_ranges(tmp_path: Path, read: Callable[..., Reply], span: ByteRange) -> None:
    """Ranges are slices of the file, with its size."""
    (tmp_path / "t.bin").write_bytes(DATA)
    reply = read(tmp_path / "t.bin", span)
    assert reply.data == DATA[span.start : span.stop]
    assert reply.size == (None if span == ByteRange(5, 5) else 1024)


@pytest.mark.parametrize(
    "name", ["a b.bin", "100%.bin", "%41.bin", "a#1.bin", "a?b.bin", "\xe9.bin", "a::b.bin", "x[1].bin"]
)
@posix
def test_odd_names(tmp_path: Path, read: Callable[..., Reply], name: str) -> None:
    """Every file name can be read."""
    (tmp_path / name).write_bytes(DATA)
    assert read(tmp_path / name).data == DATA


def test_missing(tmp_path: Path, read: Callable[..., Reply]) -> None:
    """A missing file, and one below a file, is a MissingTileError that names it."""
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none.bin", tmp_path / "file" / "below.bin"):
        with pytest.raises(MissingTileError, match=rf"{path.name}: there is no such file \(1 try\)"):
            read(path)


def test_directory(tmp_path: Path, read: Callable[..., Reply]) -> None:
    """A directory is not a file."""
    with pytest.raises(StoreError, match=r"could not be read: it is a directory, not a file"):
        read(tmp_path)


@posix
def test_fifo_and_device(tmp_path: Path, read: Callable[..., Reply]) -> None:
    """A FIFO without a writer and an endless device are refused at once, not waited for."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StoreError, match="it is a FIFO, not a file"):
        read(tmp_path / "fifo")
    with pytest.raises(StoreError, match="it is a device or socket, not a file"):
        read("/dev/zero", ByteRange(0, 10))


@posix
def test_symbolic_links_are_followed(tmp_path: Path, read: Callable[..., Reply]) -> None:
    """A link to a file is read; one to itself is an error."""
    (tmp_path / "t.bin").write_bytes(DATA)
    (tmp_path / "link.bin").symlink_to(tmp_path / "t.bin")
    (tmp_path / "loop.bin").symlink_to(tmp_path / "loop.bin")
    assert read(tmp_path / "link.bin").data == DATA
    with pytest.raises(StoreError, match=r"loop.bin: could not be read"):
        read(tmp_path / "loop.bin")


def test_past_the_end(tmp_path: Path, read: Callable[..., Reply]) -> None:
    """A range past the end is an error with the size; byte 0 of an empty file is just its end."""
    (tmp_path / "t.bin").write_bytes(DATA)
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(StoreError, match=r"byte 1024 is past the end of 1024 bytes \(bytes 1024-1024, 1 try\)"):
        read(tmp_path / "t.bin", ByteRange(1024, 1025))
    assert read(tmp_path / "empty.bin", ByteRange(0, 16)) == read(tmp_path / "empty.bin")
    assert read(tmp_path / "empty.bin").data == b""


def test_max_bytes(tmp_path: Path) -> None:
    """A file over max_bytes is refused before it is read."""
    (tmp_path / "t.bin").write_bytes(DATA)
    store = Store(StoreOptions(canonical(tmp_path / "m.json")))

    async def read() -> Reply:
        return await store.read(Request(canonical(tmp_path / "t.bin")), max_bytes=1023)

    with pytest.raises(StoreError, match="it has 1024 bytes, more than the 1023 that are allowed"):
        run(read)


def test_etag_changes_with_the_file(tmp_path: Path, read: Callable[..., Reply]) -> None:
    """The version of a file stays while the file does, and changes when it is replaced."""
    path = tmp_path / "t.bin"
    path.write_bytes(DATA)
    first, same = read(path).etag, read(path, ByteRange(0, 3)).etag
    (tmp_path / "new.bin").write_bytes(DATA)
    (tmp_path / "new.bin").replace(path)
    assert first == same
    assert read(path).etag != first


def test_filesystem_of_the_user(tmp_path: Path) -> None:
    """A filesystem given for "file" is used in place of reading directly."""
    fs = RecordingFileSystem(name=uuid4().hex)
    fs.files[str(tmp_path / "t.bin")] = b"theirs"
    root = canonical(tmp_path / "m.json")
    store = Store(StoreOptions(root, {}, {"file": fs}))
    assert run(store.read, Request(canonical(tmp_path / "t.bin"), source=root)).data == b"theirs"
    fs.reset()
