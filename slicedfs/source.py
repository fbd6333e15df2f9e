"""Where the pixels of one array come from: an opened tile set, its placement and dtype.

A source pickles as a :class:`SourceRef` (URL, digest, options), never as its tiles; another process opens it again,
once, when it first reads.
"""

import hashlib
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from slicedfs import codecs
from slicedfs.errors import CodecError, ManifestError, MissingExtraError, MissingTileError, StoreError
from slicedfs.layout.merge import merge
from slicedfs.layout.placement import Placement, place, refuse_empty
from slicedfs.model import TileSetDocument
from slicedfs.options import ArrayOptions, Combine
from slicedfs.ranges import ByteRange
from slicedfs.resolver import Opened, Session
from slicedfs.store import Cache, Memo, Request, StoreOptions, in_thread
from slicedfs.url import Base, extension, join, redact

__all__ = ["SourceRef", "TileSource", "hints", "open_source", "reopen"]

_PROBED_TILES = 4
_PAST_END = 416
_ALONE = Combine()


@dataclass(frozen=True, slots=True, repr=False)
class SourceRef:
    """All that is needed to open a source again."""

    store: StoreOptions
    """How to reach the root."""
    url: str
    """The tile set document."""
    ancestors: tuple[str, ...]
    """URLs of the documents that led to it, the root first."""
    digest: str
    """sha256 of the document's bytes, hex."""
    options: ArrayOptions
    """How it is read."""
    combine: Combine
    """How the tile sets of a collection are put together."""

    def __repr__(self) -> str:
        return f"SourceRef({redact(self.url)!r}, digest={self.digest!r}, {self.options!r}, {self.combine!r})"

    @property
    def token(self) -> str:
        """A key that equal references share, without secrets; dask names tasks by it."""
        parts = (self.store, self.url, self.digest, self.options, self.combine)
        return hashlib.sha256(_canonical(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class TileSource:
    """An opened tile set that is ready to be read."""

    ref: SourceRef
    """How to open it again."""
    session: Session
    """Where bytes come from."""
    document: TileSetDocument
    """What it says."""
    placement: Placement
    """Where its tiles lie."""
    dtype: np.dtype[Any]
    """Of the array; native byte order."""
    probed: codecs.Layout | None = None
    """Where the pixels lie in the tile whose header was read at open; None where none was, or that does not tell."""

    def __repr__(self) -> str:
        return f"TileSource({redact(self.document.url)!r}, {self.shape}, {self.dtype})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.placement.grid.shape

    @cached_property
    def _bases(self) -> dict[str, Base]:
        """Document -> what its references are joined to."""
        return {}

    @cached_property
    def fill_value(self) -> Any:
        """Value of positions without a tile, of the array's dtype.

        Raises
        ------
        ValueError
            If the fill_value asked for cannot be held by the dtype.
        """
        asked = self.ref.options.fill_value
        if asked is None:
            return self.dtype.type(np.nan if self.dtype.kind in "fc" else 0)
        value = _cast(np.asarray(asked), self.dtype)
        if value is None:
            raise ValueError(f"fill_value={asked!r} is not a value of {self.dtype}; pass one that is, or none")
        return value

    def tile_url(self, tile: int) -> str:
        """Return the absolute URL of tile `tile`, checked against the policy.

        Raises
        ------
        UrlPolicyError, ManifestError
        """
        owner = self.owner(tile)
        base = self._bases.get(owner)
        if base is None:
            base = self._bases[owner] = Base(owner)
            self.session.check(owner, owner)  # below, what lies beside the document needs no look of its own
        url = base.join(self.document.tiles.files[tile])
        if not base.is_beside(url):
            self.session.check(url, owner)
        return url

    def owner(self, tile: int) -> str:
        """Return the URL of the document that lists tile `tile`."""
        return self.document.part_of(tile).url

    def cache_key(self, tile: int, url: str) -> str:
        """Return what tile `tile` is kept under: its sha256, else its URL and the digest of what lists it.

        A document that is written anew therefore never meets tiles that were kept for the old one.
        """
        digest = self.document.tiles.digest(tile)
        return Cache.key("sha256", digest.hex()) if digest else Cache.key("tile", self.ref.digest, url)

    def tile_request(self, tile: int, url: str) -> codecs.TileRequest:
        """Return what the document says of tile `tile`."""
        return _tile_request(self.document, tile, url, self.ref.options)


_OPENED: Memo[str, TileSource] = Memo(max_items=64)
"""The sources used last, so that a worker that forgets its arrays between tasks opens nothing twice."""
_ALIVE: WeakValueDictionary[str, TileSource] = WeakValueDictionary()
"""Sources that some array holds, however many were opened since: copies of that array share them."""


async def open_source(session: Session, opened: Opened, options: ArrayOptions, combine: Combine = _ALONE) -> TileSource:
    """Place the tiles of an opened document; reads the header of one tile, unless the document states the dtype.

    Where `combine` asks for it, all tile sets below a collection are read, concurrently, and put together.

    Raises
    ------
    ManifestError, MissingTileError, StoreError, CodecError
    """
    document, digest = await _tile_set(session, opened, combine)
    refuse_empty(document)
    ref = SourceRef(session.options, opened.url, opened.ancestors, digest, options, combine)
    header, probed = _stated_header(document), None
    if header is None:
        header, probed = await _probed_header(session, document, digest, options)
    shape = dict(zip(header.dims, header.shape, strict=True))
    placement = await in_thread(place, document, header.dims, shape, options.pixel_coords)
    source = TileSource(ref, session, document, placement, header.dtype, probed)
    _ = source.fill_value  # refuse a wrong one now, not at the first read
    _OPENED.put(ref.token, source)
    _ALIVE[ref.token] = source
    return source


async def reopen(ref: SourceRef) -> TileSource:
    """Open a source again, once a process.

    Raises
    ------
    StoreError
        If the document has changed since.
    """

    async def make() -> TileSource:
        session = Session(ref.store)
        opened = await session.document(ref.url, ref.ancestors)
        source = await open_source(session, opened, ref.options, ref.combine)
        if source.ref.digest != ref.digest:
            raise StoreError(f"{redact(ref.url)} has changed since it was opened. Open it again.", url=redact(ref.url))
        return source

    return _ALIVE.get(ref.token) or await _OPENED.get(ref.token, make)


async def _tile_set(session: Session, opened: Opened, combine: Combine) -> tuple[TileSetDocument, str]:
    """Return the tile set to place, and the digest of all documents that it comes from."""
    document = opened.document
    if isinstance(document, TileSetDocument):
        if combine.stack is not None:
            raise ManifestError(
                f"{redact(opened.url)} is a tile set; stack={combine.stack!r} needs a collection of them. Open it "
                "without stack=.",
                url=redact(opened.url),
                value=combine.stack,
            )
        return document, opened.digest
    if not combine:
        raise ManifestError(
            f"{redact(opened.url)} is {document.noun}, not a tile set. Open one of its members by group=: "
            f"{', '.join(map(repr, list(document.contents)[:10]))}; or all of them with xarray.open_datatree, "
            "stack= or mosaic=True.",
            url=redact(opened.url),
        )
    below = await session.below(opened)
    digest = hashlib.sha256("".join([opened.digest, *(found.digest for _, found in below)]).encode()).hexdigest()
    members = [("/".join(names), of.document) for names, of in below if isinstance(of.document, TileSetDocument)]
    return await in_thread(merge, document, members, combine.stack), digest


def _canonical(value: object) -> str:
    """Return a text that equal values share, also when they were pickled in between.

    Pickle bytes do not serve: they depend on which equal strings are one object.
    """
    if isinstance(value, Mapping):
        text = ",".join(sorted(f"{_canonical(k)}:{_canonical(v)}" for k, v in value.items()))
    elif isinstance(value, list | tuple):
        text = ",".join(map(_canonical, value))
    elif isinstance(value, set | frozenset):
        text = ",".join(sorted(map(_canonical, value)))
    elif is_dataclass(value):
        text = _canonical({f.name: getattr(value, f.name) for f in fields(value)})
    elif value is None or isinstance(value, str | bytes | int | float | complex):
        text = repr(value)
    elif hasattr(value, "to_json"):  # a filesystem of the user's
        text = str(value.to_json())
    else:
        text = _pickled(value)
    return f"{type(value).__name__}({text})"


def _pickled(value: object) -> str:
    try:
        return repr(pickle.dumps(value))
    except (pickle.PicklingError, AttributeError, TypeError):  # only this process can have it
        return str(id(value))


def _cast(asked: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """Return the number `asked` as `dtype`, floats rounded; None where that is another number, or `asked` is none."""
    if asked.ndim or asked.dtype.kind not in "buifc" or (asked.dtype.kind == "c" and dtype.kind != "c"):
        return None
    with np.errstate(all="ignore"):
        value = asked.astype(dtype)
    if dtype.kind in "fc" and np.isfinite(asked) == np.isfinite(value):
        return value[()]
    return value[()] if value == asked else None


def _tile_request(document: TileSetDocument, tile: int, url: str, options: ArrayOptions) -> codecs.TileRequest:
    return codecs.TileRequest(
        url=redact(url),
        extension=extension(url),
        format=document.tile_format(tile),
        shape=document.tile_shape(tile),
        max_bytes=options.max_tile_bytes,
        raw=hints(document).get("raw"),
    )


def hints(document: TileSetDocument) -> Mapping[str, Any]:
    """Return ``extras.slicedfs``; empty where there is none."""
    found = document.extras.get("slicedfs") if isinstance(document.extras, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _stated_header(document: TileSetDocument) -> codecs.TileHeader | None:
    """Return the header that ``extras.slicedfs`` states (written by slicedfs itself), if it suffices."""
    stated = hints(document).get("dtype")
    shape = document.tile_shape(0) if len(document.tiles) else None
    if not isinstance(stated, str) or shape is None:
        return None
    try:
        dtype = np.dtype(stated).newbyteorder("=")
    except TypeError:
        return None
    dims = tuple(dim for dim in ("z", "y", "x", "s") if dim in shape)
    if dtype.kind not in "buifc":
        return None
    return codecs.TileHeader(tuple(shape[dim] for dim in dims), dims, dtype)


async def _probed_header(
    session: Session, document: TileSetDocument, digest: str, options: ArrayOptions
) -> tuple[codecs.TileHeader, codecs.Layout | None]:
    """Read the header of the first tile; where the file is absent, of a few others. Return its layout too."""
    absent: list[MissingTileError] = []
    for tile in _spread(len(document.tiles)):
        owner = document.part_of(tile).url
        url = join(owner, document.tiles.files[tile])
        session.check(url, owner)
        try:
            return await _drive(
                session, Request(url, source=owner), _tile_request(document, tile, url, options), digest
            )
        except MissingTileError as error:
            absent.append(error)
    raise absent[0]


async def _drive(
    session: Session, request: Request, of_tile: codecs.TileRequest, digest: str
) -> tuple[codecs.TileHeader, codecs.Layout | None]:
    """Feed a header probe with the bytes it asks for; return the layout too, where these bytes tell it."""
    probe = codecs.probe(of_tile)
    known: dict[ByteRange, bytes] = {}
    wanted = next(probe)
    while True:
        known[wanted] = await _part(session, request._replace(byte_range=wanted), digest)
        try:
            wanted = probe.send(known[wanted])
        except StopIteration as stop:
            header: codecs.TileHeader = stop.value
            return header, _told_layout(of_tile, known)


def _told_layout(of_tile: codecs.TileRequest, known: Mapping[ByteRange, bytes]) -> codecs.Layout | None:
    """Return the layout of a tile of which some bytes are known; None where they do not tell it."""
    steps = codecs.layout(of_tile)
    try:
        wanted = next(steps)
        while wanted in known:
            wanted = steps.send(known[wanted])
    except StopIteration as stop:
        layout: codecs.Layout | None = stop.value
        return layout
    except (CodecError, MissingExtraError):  # reading a tile says it better
        return None
    steps.close()
    return None


async def _part(session: Session, request: Request, digest: str) -> bytes:
    """Return part of a tile, from the cache where there is one; b"" past its end."""
    if session.cache is None:
        return await _range(session, request)
    key = Cache.key("part", digest, request.url, str(tuple(request.byte_range)))
    kept = await in_thread(session.cache.get, key)
    if kept is None:
        kept = await _range(session, request)
        await in_thread(session.cache.put, key, kept)
    return kept


async def _range(session: Session, request: Request) -> bytes:
    try:
        return bytes((await session.store.read(request)).data)
    except StoreError as error:
        if error.status == _PAST_END:  # a damaged header pointed there; the codec says so better
            return b""
        raise


def _spread(count: int) -> Iterator[int]:
    """Return a few tile numbers, the first one first."""
    yield from sorted({count * i // _PROBED_TILES for i in range(_PROBED_TILES)}) if count else ()
