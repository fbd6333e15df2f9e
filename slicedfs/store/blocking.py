"""Reading from filesystems that block (memory, archives, ftp, caches …), in threads."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from slicedfs.ranges import ByteRange
from slicedfs.store import replies
from slicedfs.store.options import Ask, Reply

__all__ = ["PathLocks", "PerThread", "read_cached", "read_plain"]


def read_plain(filesystem: Any, path: str, ask: Ask, lock: AbstractContextManager[Any] | None = None) -> Reply:
    """Read what is asked of `path` by ``cat_file``, holding `lock`; blocks."""
    want = ask.want
    with lock or nullcontext():
        if want.is_whole:
            data = bytes(filesystem.cat_file(path))
            replies.check_size(len(data), ask.limit)
            return Reply(data, len(data), None)
        data = bytes(filesystem.cat_file(path, start=want.start, end=want.stop))
        wanted = None if want.stop is None else want.stop - want.start
        if len(data) == wanted:
            return Reply(data, None, None)
        size = filesystem.size(path)
    return Reply(checked(data, want, size), size, None)


def checked(data: bytes, want: ByteRange, size: int | None) -> bytes:
    """Return `data` where it is what `want` is of an object of `size` bytes.

    Raises
    ------
    TryError
        It is not: the range is past the end, or the reply is short or long.
    """
    if size is not None:
        replies.check_start(want, size)
    told = replies.ContentRange(want.start, want.start + len(data), size)
    return replies.partial(want, data, told)


@dataclass(slots=True)
class PerThread:
    """One filesystem per thread, for protocols with one connection that talks to one thread (ftp, sftp, smb)."""

    make: Callable[[], Any]
    """Makes a new filesystem."""
    _local: threading.local = field(default_factory=threading.local)

    def get(self) -> Any:
        """Return this thread's filesystem."""
        filesystem = getattr(self._local, "filesystem", None)
        if filesystem is None:
            filesystem = self._local.filesystem = self.make()
        return filesystem


@dataclass(slots=True)
class PathLocks:
    """One lock per path, kept while somebody holds it or waits for it."""

    _locks: dict[str, tuple[threading.Lock, int]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str) -> threading.Lock:
        """Return the lock of `path`; give it back with :meth:`give`."""
        with self._guard:
            lock, users = self._locks.get(path, (threading.Lock(), 0))
            self._locks[path] = (lock, users + 1)
            return lock

    def give(self, path: str) -> None:
        """Forget the lock of `path` when nobody uses it any more."""
        with self._guard:
            lock, users = self._locks.pop(path)
            if users > 1:
                self._locks[path] = (lock, users - 1)


def read_cached(filesystem: Any, path: str, ask: Ask, locks: PathLocks) -> Reply:
    """Read what is asked of `path` through a caching filesystem (simplecache, filecache, blockcache); blocks.

    One reader of a path at a time, and by ``open``: a download under way already has its final name, so a second
    reader would get what is there so far, and the caches' ``cat_file`` differ in what they keep.
    """
    lock = locks.take(path)
    try:
        with lock, filesystem.open(path, "rb") as file:
            data = bytes(file.read() if ask.limit is None else file.read(ask.limit + 1))
    finally:
        locks.give(path)
    replies.check_size(len(data), ask.limit)
    return Reply(replies.cut(ask.want, data), len(data), None)
