"""The recording filesystem, which other people's tests count requests with."""

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from slicedfs.testing import Access, RecordingFileSystem, register


@pytest.fixture
def fs() -> Iterator[RecordingFileSystem]:
    """Give an empty recording filesystem of its own."""
    filesystem = RecordingFileSystem(name=uuid4().hex)
    yield filesystem
    filesystem.reset()


def test_records_requests(fs: RecordingFileSystem) -> None:
    """Every read is recorded with its range, in order, also by URL and other fsspec calls."""
    fs.files.update({"b/x": b"0123456789", "b/y": b"abc"})
    assert fs.cat_file("b/x", start=2, end=5) == b"234"
    with fsspec.open("recording://b/y", name=fs.name) as file:
        assert file.read() == b"abc"
    assert fs.cat(["recording://b/x", "b/y"]) == {"b/x": b"0123456789", "b/y": b"abc"}
    assert fs.log[0] == Access("b/x", 2, 5)
    assert sorted(fs.paths[-2:]) == ["b/x", "b/y"]
    assert fs.bytes_asked == 3 + 3 + 10 + 3


def test_names_keep_tests_apart(fs: RecordingFileSystem) -> None:
    """Instances of one name share files and log, those of another name do not."""
    fs.files["b/x"] = b"x"
    twin, other = RecordingFileSystem(name=fs.name), RecordingFileSystem(name=fs.name + "2")
    assert twin.cat_file("b/x") == b"x"
    assert fs.paths == ["b/x"]
    with pytest.raises(FileNotFoundError, match="b/x"):
        other.cat_file("b/x")
    other.reset()


def test_pickles_by_name(fs: RecordingFileSystem) -> None:
    """A pickled instance finds the same files in the same process, and takes none along."""
    fs.files["b/x"] = b"many bytes" * 1000
    assert len(pickle.dumps(fs)) < 1000
    assert pickle.loads(pickle.dumps(fs)).files is fs.files


def test_faults(fs: RecordingFileSystem) -> None:
    """Faults are used up one a request: an exception, a short reply, a good one; then all is well."""
    fs.files["b/x"] = b"0123456789"
    fs.fail("b/x", ConnectionResetError("boom"), 4, None)
    fs.fail("b/x", 1)
    with pytest.raises(ConnectionResetError, match="boom"):
        fs.cat_file("b/x")
    assert [fs.cat_file("b/x") for _ in range(4)] == [b"0123", b"0123456789", b"0", b"0123456789"]
    fs.fail("b/x", OSError("forgotten"))
    fs.clear()
    assert fs.cat_file("b/x") == b"0123456789"
    assert len(fs.log) == 1


def test_delay_and_in_flight(fs: RecordingFileSystem) -> None:
    """Delayed requests overlap, and the largest number at a time is known."""
    fs.files["b/x"] = b"x"
    fs.delay_s = 0.01

    async def main() -> None:
        await asyncio.gather(*(fs._cat_file("b/x") for _ in range(5)))

    asyncio.run(main())
    assert (fs.max_in_flight, fs.in_flight) == (5, 0)
    fs.clear()
    assert fs.max_in_flight == 0


def test_writing_and_listing(fs: RecordingFileSystem, tmp_path: Path) -> None:
    """Files can be written, listed, copied, downloaded and removed as in any filesystem."""
    fs.pipe({"b/d/x": b"1", "b/d/e/y": b"22"})
    fs.makedirs("b/z", exist_ok=True)
    assert fs.ls("b/d", detail=False) == ["b/d/e", "b/d/x"]
    assert fs.find("b") == ["b/d/e/y", "b/d/x"]
    assert (fs.size("b/d/e/y"), fs.isdir("b/d"), fs.isfile("b/d/x"), fs.exists("b/none")) == (2, True, True, False)
    fs.copy("b/d/x", "b/copy")
    fs.get("b/copy", str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == b"1"
    with pytest.raises(FileExistsError, match="b/copy"):
        fs.pipe_file("b/copy", b"2", mode="create")
    fs.rm_file("b/copy")
    assert not fs.exists("b/copy")


def test_registration() -> None:
    """Importing slicedfs.testing registers the protocol; doing it again does no harm."""
    register()
    assert fsspec.get_filesystem_class("recording") is RecordingFileSystem
