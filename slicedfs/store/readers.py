"""Which way of reading fits a filesystem."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any

from slicedfs import url as urls
from slicedfs.store import blocking, local, remote
from slicedfs.store.door import in_io_thread
from slicedfs.store.options import Ask, Reply, StoreOptions
from slicedfs.store.slots import Slots
from slicedfs.store.wire.s3 import S3Lanes, is_plain_s3

__all__ = ["ReadOne", "Reader", "is_archive", "is_async", "is_web", "local_read", "read_of", "tries_itself"]

ReadOne = Callable[[str, Ask], Awaitable[Reply]]
"""(key, what is asked of it) -> reply; one try."""

_ARCHIVES = frozenset({"ZipFileSystem", "TarFileSystem", "LibArchiveFileSystem"})
_ONE_THREAD = frozenset({"FTPFileSystem", "SFTPFileSystem", "SMBFileSystem"})
_TRY_ITSELF = frozenset({"GCSFileSystem", "AzureBlobFileSystem"})


@dataclass(slots=True)
class Reader:
    """How the objects of one origin are read, and what was learned about them."""

    read: ReadOne
    """Reads one object; one try."""
    slots: Slots
    """Requests under way to the origin."""
    max_tries: int
    """Tries of one request."""
    hedges: bool = False
    """A request that seems stuck may be sent a second time beside it: over a network, and where it can be cancelled."""
    by_url: bool = False
    """Keys are URLs, so that there is only one name: http."""
    gives_ranges: Callable[[], bool] = lambda: True
    """Whether ranges are worth asking for; False once a server was seen to send whole objects instead."""
    typical_bytes: int | None = None
    """Size of the whole object read last: the best guess at the next one's."""
    form: int | None = None
    """Which of several possible names (:func:`slicedfs.url.key_candidates`) was right last; None: not known."""
    finding: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the request that finds out which name is right."""

    def is_settled(self) -> bool:
        """Return whether it is known which name is right."""
        return self.form is not None

    def settle(self) -> None:
        """Take the first name to be right where none was found: the others need not wait for each other."""
        if self.form is None:
            self.form = 0


def is_web(filesystem: Any) -> bool:
    """Say whether `filesystem` is fsspec's http, with its own way of reading."""
    if "HTTPFileSystem" not in _kinds(filesystem):
        return False
    from fsspec.implementations.http import HTTPFileSystem

    return getattr(type(filesystem), "_cat_file", None) is HTTPFileSystem._cat_file


def is_archive(filesystem: Any) -> bool:
    """Say whether `filesystem` shows the members of an archive, in which a range costs all that comes before it."""
    return bool(_kinds(filesystem) & _ARCHIVES)


async def local_read(key: str, ask: Ask) -> Reply:
    """Read local files; a ReadOne."""
    return await in_io_thread(local.read_file, key, ask)


def tries_itself(filesystem: Any, *, ours: bool) -> bool:
    """Say whether `filesystem` has a retry that cannot be turned off; `ours`: made here, by options."""
    kinds = _kinds(filesystem)
    if "S3FileSystem" in kinds:
        return not ours
    return bool(kinds & _TRY_ITSELF) and not remote.is_plain_gcs(filesystem)


def read_of(filesystem: Any, url: str, options: StoreOptions, *, ours: bool) -> ReadOne:
    """Return the way of reading for `filesystem`, which is not :func:`is_web` and serves `url`.

    `ours`: it was made here, by options.
    """
    kinds = _kinds(filesystem)
    if "CachingFileSystem" in kinds:
        return _cached(filesystem, url)
    if "LocalFileSystem" in kinds:
        return local_read
    if is_async(filesystem):
        return _async(filesystem, kinds, options, ours=ours)
    if kinds & _ONE_THREAD:
        return _per_thread(filesystem)
    return _plain(filesystem, Lock() if kinds & _ARCHIVES else None)


def _kinds(filesystem: Any) -> set[str]:
    return {kind.__name__ for kind in type(filesystem).__mro__}


def is_async(filesystem: Any) -> bool:
    """Say whether `filesystem` reads on the I/O loop, so that its requests can be cancelled."""
    inner = getattr(filesystem, "fs", None)
    if "DirFileSystem" in _kinds(filesystem) and inner is not None:
        return is_async(inner)  # it says that it is async whatever it wraps
    return bool(getattr(filesystem, "async_impl", False))


def _async(filesystem: Any, kinds: set[str], options: StoreOptions, *, ours: bool) -> ReadOne:
    if "S3FileSystem" in kinds and type(filesystem)._cat_file.__module__ == "s3fs.core":
        return _s3(filesystem, options, ours=ours)
    if "GCSFileSystem" in kinds and remote.is_plain_gcs(filesystem):
        return _timed(remote.read_gcs, filesystem, options)
    return _timed(remote.read_any, filesystem, options)


def _s3(filesystem: Any, options: StoreOptions, *, ours: bool) -> ReadOne:
    lanes = S3Lanes(filesystem, options.stall_s) if ours and is_plain_s3(filesystem) else None
    return _timed(partial(remote.read_s3, lanes=lanes), filesystem, options)


def _timed(
    function: Callable[[Any, str, Ask, float], Awaitable[Reply]], filesystem: Any, options: StoreOptions
) -> ReadOne:
    async def read(key: str, ask: Ask) -> Reply:
        try_s = options.retry_s if ask.want.stop is None else 2 * options.stall_s
        return await function(filesystem, key, ask, try_s)

    return read


def _plain(filesystem: Any, lock: AbstractContextManager[Any] | None) -> ReadOne:
    async def read(key: str, ask: Ask) -> Reply:
        return await in_io_thread(blocking.read_plain, filesystem, key, ask, lock)

    return read


def _per_thread(filesystem: Any) -> ReadOne:
    def twin() -> Any:
        options = {**filesystem.storage_options, "skip_instance_cache": True}
        return type(filesystem)(*filesystem.storage_args, **options)

    twins = blocking.PerThread(twin)

    def read_here(key: str, ask: Ask) -> Reply:
        return blocking.read_plain(twins.get(), key, ask)

    async def read(key: str, ask: Ask) -> Reply:
        return await in_io_thread(read_here, key, ask)

    return read


def _cached(filesystem: Any, url: str) -> ReadOne:
    locks = blocking.PathLocks()
    # A cache takes the paths of what it caches; its target's protocol is the head's.
    head_scheme = urls.scheme(url)

    async def read(key: str, ask: Ask) -> Reply:
        path = key if head_scheme in ("http", "https") else filesystem._strip_protocol(f"{head_scheme}://{key}")
        return await in_io_thread(blocking.read_cached, filesystem, path, ask, locks)

    return read
