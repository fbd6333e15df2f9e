"""Names with escapes: literal or decoded, k files cost k requests."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from slicedfs.errors import MissingTileError, StoreError
from slicedfs.store import Reply, Request, Store, StoreOptions, run
from slicedfs.testing import RecordingFileSystem

COUNT = 100


@pytest.fixture
def fs() -> Iterator[RecordingFileSystem]:
    """Give an empty recording filesystem of its own."""
    filesystem = RecordingFileSystem(name=uuid4().hex)
    yield filesystem
    filesystem.reset()


def store_of(fs: RecordingFileSystem) -> Store:
    return Store(StoreOptions("recording://b/m.json", {"name": fs.name}))


def fetched(fs: RecordingFileSystem, urls: list[str]) -> list[bytes | None]:
    """Fetch `urls`; None for missing ones."""
    got: dict[int, bytes | None] = {}

    async def consume(key: int, reply: Reply | MissingTileError) -> None:
        got[key] = reply.data if isinstance(reply, Reply) else None

    run(store_of(fs).fetch, ((i, Request(url)) for i, url in enumerate(urls)), consume)
    return [got[i] for i in range(len(urls))]


@pytest.mark.parametrize(
    ("stored", "requests"),
    [
        ("b/my dir/{}.npy", COUNT),  # the reference is a URL: its name is the decoded one
        ("b/my%20dir/{}.npy", COUNT + 1),  # the key was written undecoded: one miss finds out
    ],
)
def test_one_request_a_file(fs: RecordingFileSystem, stored: str, requests: int) -> None:
    """K files with escapes in their names cost k requests, and one more where the names are stored undecoded."""
    fs.files.update({stored.format(i): b"%d" % i for i in range(COUNT)})
    fs.delay_s = 0.001
    assert fetched(fs, [f"recording://b/my%20dir/{i}.npy" for i in range(COUNT)]) == [b"%d" % i for i in range(COUNT)]
    assert len(fs.log) == requests


def test_mixed_names_are_all_found(fs: RecordingFileSystem) -> None:
    """Where some names are stored decoded and others not, every file is found."""
    fs.files.update({(f"b/a b{i}" if i % 2 else f"b/a%20b{i}"): b"%d" % i for i in range(20)})
    assert fetched(fs, [f"recording://b/a%20b{i}" for i in range(20)]) == [b"%d" % i for i in range(20)]


def test_missing_under_every_name(fs: RecordingFileSystem) -> None:
    """A file that is missing under all its names is missing once, under the decoded one, at the first two tries."""
    with pytest.raises(MissingTileError, match=r"recording://b/no such\.npy: there is no such file \(1 try\)"):
        run(store_of(fs).read, Request("recording://b/no%20such.npy"))
    assert fs.paths == ["b/no such.npy", "b/no%20such.npy"]


def test_missing_files_do_not_wait_for_each_other(fs: RecordingFileSystem) -> None:
    """Names that are all missing cost two requests each, concurrently, not one after the other."""
    fs.delay_s = 0.05
    assert fetched(fs, [f"recording://b/no%20{i}" for i in range(COUNT)]) == [None] * COUNT
    assert len(fs.log) == 2 * COUNT
    assert 64 <= fs.max_in_flight <= 256


def test_other_failures_do_not_try_the_next_name(fs: RecordingFileSystem) -> None:
    """Only absence leads to the next name: a refusal is reported at once."""
    fs.files["b/a%20b"] = b"other file"
    fs.fail("b/a b", PermissionError("no"))
    with pytest.raises(StoreError, match="PermissionError: no"):
        run(store_of(fs).read, Request("recording://b/a%20b"))
    assert fs.paths == ["b/a b"]


@pytest.mark.parametrize(
    "name", ["a#1.npy", "a?1.npy", "%41.npy", "100%.npy", "a+b.npy", "\xe9.npy", "a::b.npy", "x[1].npy"]
)
def test_odd_names(fs: RecordingFileSystem, name: str) -> None:
    """A key with any characters is found under a reference that spells it out, and under its encoded form."""
    from urllib.parse import quote

    fs.files[f"b/{name}"] = b"found"
    assert run(store_of(fs).read, Request(f"recording://b/{quote(name)}")).data == b"found"
    assert run(store_of(fs).read, Request(f"recording://b/{name}")).data == b"found"
