"""What is asked of the store, what it gives back, and how it may behave. Values, no I/O."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from slicedfs import url as urls
from slicedfs.policy import UrlPolicy
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.store.cache import DEFAULT_CACHE_BYTES

__all__ = ["DEFAULT_CONCURRENCY", "MOST_CONCURRENCY", "Ask", "Reply", "Request", "StoreOptions"]

DEFAULT_CONCURRENCY = 64
"""Requests at a time to one origin at first, where the user gives no number."""
MOST_CONCURRENCY = 256
"""Requests at a time to one origin at most, where the user gives no number."""


class Request(NamedTuple):
    """One object, or some bytes of it."""

    url: str
    """Internal (canonical, percent-encoded) URL of the object."""
    byte_range: ByteRange = WHOLE
    """Half-open bytes wanted; an empty range costs no request."""
    source: str | None = None
    """URL of the document that refers to the object, for the policy; None: the user named it."""

    def __repr__(self) -> str:
        source = None if self.source is None else urls.redact(self.source)
        return f"Request({urls.redact(self.url)!r}, {self.byte_range!r}, source={source!r})"


class Reply(NamedTuple):
    """Bytes as asked for; fewer only where the object ends inside the range."""

    data: bytes | bytearray | memoryview
    """The bytes; a memoryview is one of unsigned bytes."""
    size: int | None
    """Size of the whole object in bytes; None where the filesystem does not tell."""
    etag: str | None
    """What changes when the object changes (ETag, generation, inode and mtime); None where unknown."""


class Ask(NamedTuple):
    """What a reader is asked for, inside the store."""

    want: ByteRange
    """Bytes wanted; not empty."""
    source: str | None = None
    """URL of the document that refers to the object, as in Request."""
    limit: int | None = None
    """Whole objects that are larger are refused; None: any size."""
    grow: Callable[[int], Awaitable[None]] | None = None
    """To be awaited on the I/O loop, with the size of a body, before the body is read; None: nobody counts."""

    async def expect(self, size: int | None) -> None:
        """Wait until there is room for a body of `size` bytes; None: not known."""
        if size is not None and self.grow is not None:
            await self.grow(size)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StoreOptions:
    """How to read; picklable, and its repr shows no secret."""

    root: str
    """Internal (canonical) URL of the document that the user opened."""
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    """fsspec options for the origin of `root`: flat, or keyed by protocol."""
    filesystems: Mapping[str, Any] = field(default_factory=dict)
    """Protocol ("https") or URL prefix ("s3://other-bucket/") -> options or an fsspec filesystem,
    for the other origins; the longest prefix wins."""
    policy: UrlPolicy = field(default_factory=UrlPolicy)
    """Which URL may lead where; asked for references and for redirects."""
    concurrency: int | None = None
    """Requests at a time to one origin, over all stores of the process with the same number;
    None: 64, and up to 256 while that makes them no slower."""
    bytes_in_flight: int = 256 << 20
    """Bytes asked for and not yet consumed, over all stores of the process."""
    gap_bytes: int = 16 << 10
    """Ranges of one object that lie no further apart than this are read as one."""
    memory_cache_bytes: int = 128 << 20
    """Decoded tiles that may stay in memory, in the whole process, of those that were read whole and wanted in part."""
    max_tries: int = 5
    """Tries of one request, >= 1."""
    retry_s: float = 60.0
    """Seconds after the first try of a request in which another try may start."""
    stall_s: float = 10.0
    """Seconds without a byte after which a try is given up."""
    tile_cache: str | None = None
    """Directory that keeps what was read, see :class:`slicedfs.store.cache.Cache`; None: nothing is kept."""
    tile_cache_bytes: int = DEFAULT_CACHE_BYTES
    """How large it may grow."""

    def __post_init__(self) -> None:
        for name in ("storage_options", "filesystems"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Mapping):
                raise TypeError(f"{name} must be a dict, got a {type(value).__name__}.")
            # A plain dict of our own: later changes by the caller do not matter, and it pickles.
            object.__setattr__(self, name, dict(value or {}))
        for key, given in self.filesystems.items():
            if not isinstance(given, Mapping) and not hasattr(given, "cat_file"):
                raise TypeError(
                    f"filesystems[{urls.redact(key)!r}] must be a dict of options or an fsspec filesystem, "
                    f"got a {type(given).__name__}."
                )
        if self.tile_cache is not None:
            object.__setattr__(self, "tile_cache", os.fspath(self.tile_cache))
        self._check_numbers()

    def _check_numbers(self) -> None:
        for name in ("concurrency", "bytes_in_flight", "max_tries", "tile_cache_bytes"):
            value = getattr(self, name)
            if value is None and name == "concurrency":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
        for name in ("gap_bytes", "memory_cache_bytes"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} must be an integer >= 0, got {value!r}.")
        for name in ("retry_s", "stall_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be seconds > 0, got {getattr(self, name)!r}.")

    @property
    def workers(self) -> int:
        """Return how many requests there may be at a time at most: `concurrency`, or 256."""
        return self.concurrency or MOST_CONCURRENCY

    def __repr__(self) -> str:
        return (
            f"StoreOptions({urls.redact(self.root)!r}, storage_options={sorted(self.storage_options)}, "
            f"filesystems={sorted(map(urls.redact, self.filesystems))}, policy={self.policy!r}, "
            f"concurrency={self.concurrency}, bytes_in_flight={self.bytes_in_flight}, "
            f"gap_bytes={self.gap_bytes}, memory_cache_bytes={self.memory_cache_bytes}, "
            f"max_tries={self.max_tries}, retry_s={self.retry_s}, stall_s={self.stall_s}, "
            f"tile_cache={self.tile_cache!r}, tile_cache_bytes={self.tile_cache_bytes})"
        )
