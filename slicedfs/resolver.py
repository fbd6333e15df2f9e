"""Follows documents from URL to URL: one session an opened root."""

import gzip
import hashlib
import io
import warnings
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from slicedfs.errors import ManifestError, MissingTileError, SlicedfsWarning, StoreError
from slicedfs.events import loading
from slicedfs.manifest import Packed, is_packed, parse, unpack
from slicedfs.model import CollectionDocument, Document
from slicedfs.ranges import ByteRange
from slicedfs.store import Cache, Memo, Reply, Request, Store, StoreOptions, gather, in_thread, map_file
from slicedfs.store.access import choose
from slicedfs.url import is_chained, is_local, join, key_candidates, origin, redact

__all__ = ["INDEX_SUFFIX", "MAX_DEPTH", "MAX_DOCUMENTS", "Opened", "Session"]

INDEX_SUFFIX = ".slicedfs-index"
"""How names of packed indexes end; local files of such a name are mapped into memory, not read."""

MAX_DEPTH = 32
"""Documents nested deeper than this are refused."""
MAX_DOCUMENTS = 100_000
"""A tree with more documents than this is not opened at once."""
_MAX_DOCUMENT_BYTES = 4 << 30
_REFUSED = (401, 403)
_LARGE = 1 << 20
"""Bytes of a document from which on its digest is worth a thread of its own."""
_HASHED_BYTES = 64 << 20
"""Bytes of a document that are in memory at a time, where only its digest is wanted."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Opened:
    """A document that has been read."""

    url: str
    """Where from; absolute."""
    digest: str
    """sha256 of its bytes, hex."""
    document: Document
    """What it says."""
    ancestors: tuple[str, ...] = ()
    """URLs of the documents that led here, the root first."""

    def __repr__(self) -> str:
        return f"Opened({redact(self.url)!r}, {self.digest!r})"


class Session:
    """The documents and tiles that can be reached from one root. Pickles as its options."""

    def __init__(self, options: StoreOptions) -> None:
        self.options = options
        self.store = Store(options)
        self.cache = Cache(options.tile_cache, options.tile_cache_bytes) if options.tile_cache else None
        self._documents: Memo[str, tuple[str, Document]] = Memo()
        self._allowed: set[tuple[str, str]] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Session, (self.options,))

    async def root(self, *alternatives: str) -> Opened:
        """Read the root document; where it is absent, try the `alternatives` (other readings of what the user wrote).

        Raises
        ------
        MissingTileError, StoreError, ManifestError
        """
        try:
            return await self.document(self.options.root)
        except MissingTileError:
            for url in alternatives:
                try:
                    return await self.document(url)
                except MissingTileError:
                    continue
            raise

    async def child(self, parent: Opened, reference: str) -> Opened:
        """Read the document that `parent` refers to as `reference`.

        Raises
        ------
        UrlPolicyError
            If `parent` may not lead there.
        ManifestError
            If the document leads back to itself, or is nested more than 32 levels deep.
        """
        url = join(parent.url, reference)
        chain = (*parent.ancestors, parent.url)
        if url in chain:
            raise ManifestError(
                f"{redact(parent.url)} refers to {redact(url)!r}, which led here: "
                f"{' -> '.join(redact(u) for u in (*chain, url))}. A collection must not contain itself.",
                url=redact(parent.url),
                value=redact(url),
            )
        if len(chain) >= MAX_DEPTH:
            raise ManifestError(
                f"{redact(parent.url)} is nested {len(chain)} levels deep, at most {MAX_DEPTH} are read: "
                f"{' -> '.join(redact(u) for u in chain)}",
                url=redact(parent.url),
            )
        return await self.document(url, chain)

    async def below(
        self, start: Opened, *, select: str | None = None, depth: int | None = None
    ) -> list[tuple[tuple[str, ...], Opened]]:
        """Read the documents below `start`, level by level, each level concurrently.

        Parameters
        ----------
        select
            Glob pattern on the names that lead there, joined by "/"; documents off every matching path are not read.
        depth
            Levels that are read; None: all.

        Returns
        -------
        list
            (names that lead there, document), parents before children.

        Raises
        ------
        ManifestError
            If there are more than 100,000 documents, beside what :meth:`child` raises.
        """
        found: list[tuple[tuple[str, ...], Opened]] = []
        level: list[tuple[tuple[str, ...], Opened]] = [((), start)]
        while level and depth != 0:
            wanted = [
                ((*names, name), opened, reference)
                for names, opened in level
                if isinstance(opened.document, CollectionDocument)
                for name, reference in opened.document.contents.items()
                if select is None or _may_match((*names, name), select)
            ]
            if len(found) + len(wanted) > MAX_DOCUMENTS:
                raise ManifestError(
                    f"{redact(start.url)} leads to more than {MAX_DOCUMENTS} documents. Open part of it with group=.",
                    url=redact(start.url),
                )
            opened_now = await gather(self.child(parent, reference) for _, parent, reference in wanted)
            level = [(names, opened) for (names, _, _), opened in zip(wanted, opened_now, strict=True)]
            found += level
            depth = None if depth is None else depth - 1
        return found

    async def document(self, url: str, ancestors: tuple[str, ...] = ()) -> Opened:
        """Read and parse the document at `url`, once a session."""
        source = ancestors[-1] if ancestors else None
        if source is not None:
            self.check(url, source)
        digest, document = await self._documents.get(url, self._reader(url, source))
        if document.url != url:  # of an index: the tiles are that document's, so it must be one that may be led to
            self.check(document.url, url)
        return Opened(url, digest, document, ancestors)

    def check(self, url: str, source: str) -> None:
        """Raise UrlPolicyError unless the document at `source` may lead to `url`; once a pair of origins."""
        pair = (origin(url), origin(source))
        if pair not in self._allowed:
            self.options.policy.check(url, source)
            self._allowed.add(pair)

    def _reader(self, url: str, source: str | None) -> Callable[[], Awaitable[tuple[str, Document]]]:
        async def read() -> tuple[str, Document]:
            with loading("document", 1) as load:
                digest, document, size = await self._found(url, source)
                if load is not None:
                    load.read(url, size)
            return digest, document

        return read

    async def _found(self, url: str, source: str | None) -> tuple[str, Document, int]:
        """Return digest and content of a document, and how many bytes were read for it."""
        mapped = await in_thread(self._mapped, url) if _may_be_mapped(url) else None
        data: bytes | memoryview = await self._bytes(url, source) if mapped is None else mapped
        if not is_packed(data):
            return *await _parsed(data, url), len(data)
        packed = await in_thread(partial(unpack, data, url, verify=mapped is None))
        await self._refuse_stale(url, packed)
        return packed.digest, packed.document, len(data) if mapped is None else packed.header_bytes

    def _mapped(self, url: str) -> memoryview | None:
        """Map a local index into memory, as it costs nothing until it is looked at; None where it is no such file."""
        if not isinstance(choose(self.options, url).given, Mapping):  # a filesystem of the user's own
            return None
        views = (view for view in map(map_file, key_candidates(url)) if view is not None)
        return next((view for view in views if is_packed(view)), None)

    async def _refuse_stale(self, url: str, packed: Packed) -> None:
        """Raise where the document of an index has changed since.

        Only local documents are looked at, as that costs next to nothing; one that is absent is not needed.
        """
        of = packed.document.url
        self.check(of, url)
        if is_chained(of) or not is_local(of):
            return
        try:
            reply = await self.stamp(of, url)
            is_same = reply.size == packed.made.size and (
                reply.etag == packed.made.etag or await self._sha256(of, url, reply.size or 0) == packed.made.sha256
            )
        except StoreError:
            return
        if not is_same:
            raise ManifestError(
                f"{redact(url)} is the index of {redact(of)}, which has changed since. Write it again with `slicedfs "
                "index`, or open the document itself.",
                url=redact(url),
            )

    async def stamp(self, url: str, source: str | None = None) -> Reply:
        """Read one byte, for the sake of the size and etag that come with it.

        Raises
        ------
        MissingTileError, StoreError
        """
        return await self.store.read(Request(url, ByteRange(0, 1), source))

    async def _sha256(self, url: str, source: str, size: int) -> str:
        """Return the digest of an object, read piece by piece."""
        digest = hashlib.sha256()
        for start in range(0, size, _HASHED_BYTES):
            reply = await self.store.read(Request(url, ByteRange(start, start + _HASHED_BYTES), source))
            await in_thread(digest.update, reply.data)
        return digest.hexdigest()

    async def _bytes(self, url: str, source: str | None) -> bytes | memoryview:
        """Return the bytes of a document: as they are now, or as kept in the cache where no server answers."""
        request = Request(url, source=source)
        if self.cache is None:
            return _view(await self.store.read(request, max_bytes=_MAX_DOCUMENT_BYTES))
        key = self.cache.key("document", url)
        try:
            reply = await self.store.read(request, max_bytes=_MAX_DOCUMENT_BYTES)
        except MissingTileError:
            raise
        except StoreError as error:
            kept = None if error.status in _REFUSED else await in_thread(self.cache.get, key)
            if kept is None:
                raise
            warnings.warn(
                f"{redact(url)} cannot be reached, so it is read as it was kept in {self.options.tile_cache}: {error}",
                SlicedfsWarning,
                stacklevel=2,
            )
            return kept
        data = bytes(reply.data)
        await in_thread(self.cache.put, key, data)
        return data


def _view(reply: Reply) -> bytes | memoryview:
    """Return what was read, without a copy."""
    return reply.data if isinstance(reply.data, bytes) else memoryview(reply.data)


def _may_match(names: tuple[str, ...], select: str) -> bool:
    """Tell whether the path `names`, or something below or above it, matches the pattern."""
    patterns = select.strip("/").split("/")
    return all(fnmatchcase(name, pattern) for name, pattern in zip(names, patterns, strict=False))


async def _parsed(data: bytes | memoryview, url: str) -> tuple[str, Document]:
    """Return digest and content of a document, which may be gzip; of a large one, both at a time."""
    if len(data) < _LARGE:
        return await in_thread(lambda: (_digest_of(data), _parse(data, url)))
    results: list[Any] = await gather([in_thread(_digest_of, data), in_thread(_parse, data, url)])
    return results[0], results[1]


def _may_be_mapped(url: str) -> bool:
    return url.endswith(INDEX_SUFFIX) and is_local(url) and not is_chained(url)


def _digest_of(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def _parse(data: bytes | memoryview, url: str) -> Document:
    return parse(_gunzipped(data, url), url)


def _gunzipped(data: bytes | memoryview, url: str) -> bytes | memoryview:
    """Undo gzip: buckets hand out documents with Content-Encoding: gzip as they are stored."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            plain = stream.read(_MAX_DOCUMENT_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{redact(url)}: is damaged gzip: {error}", url=redact(url)) from error
    if len(plain) > _MAX_DOCUMENT_BYTES:
        raise ManifestError(f"{redact(url)}: holds more than {_MAX_DOCUMENT_BYTES} bytes of JSON", url=redact(url))
    return plain
