"""One tile after the other: from the replies to the pixels in the output."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from slicedfs import codecs
from slicedfs.errors import MissingTileError, StoreError
from slicedfs.layout.grid import Index, Paste, Touched, paste
from slicedfs.layout.selection import Group
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.read.boxes import around
from slicedfs.read.choice import Choice, Target, part_of, run_of
from slicedfs.read.extents import Extents
from slicedfs.read.knowledge import knowledge_of
from slicedfs.read.pixels import is_right, part_pixels, whole_pixels
from slicedfs.read.shared import Key, keep
from slicedfs.source import TileSource
from slicedfs.store import Reply, Request, gather, in_thread
from slicedfs.url import redact

if TYPE_CHECKING:
    from slicedfs.events import Load

__all__ = ["Job", "Output", "TileReader"]

_INLINE_BYTES = 256 << 10
"""Parts of uncompressed files up to this size are copied at once: a thread would cost more."""
_INLINE_OUTPUT_BYTES = 8 << 20
"""The same for whole files, where the whole result is no larger: else the loop is kept from receiving for too long."""
_PAST_END = 416


class Job(NamedTuple):
    """One tile on its way."""

    tile: int
    url: str
    request: codecs.TileRequest
    choice: Choice
    key: Key


class _Flights(Protocol):
    def land(self, key: Key, pixels: NDArray[Any]) -> None: ...


@dataclass(slots=True, eq=False)
class Output:
    """The array that is being filled."""

    plan: Touched
    groups: tuple[Group, ...]
    pixels: NDArray[Any]
    """One axis a group of the selection."""
    absent: list[str] = field(default_factory=list)
    """Redacted URLs of files that were read as fill_value."""

    @classmethod
    def allocate(cls, source: TileSource, plan: Touched, groups: tuple[Group, ...]) -> "Output":
        """Make the array; filled only where something may stay as it is."""
        if plan.missing or source.ref.options.on_missing == "fill":
            return cls(plan, groups, np.full(plan.shape, source.fill_value, source.dtype))
        return cls(plan, groups, np.empty(plan.shape, source.dtype))

    def paste(self, tile: int, pixels: NDArray[Any], region: tuple[slice, ...] | None = None) -> None:
        """Copy what is wanted of `tile`, whose `pixels` are those of `region`; None: of all of it."""
        for part in self.plan.tiles[tile]:
            paste(pixels, self.pixels, part if region is None else _shifted(part, region), self.groups)


class TileReader:
    """Turns the replies for the tiles of one selection into pixels of its output."""

    def __init__(self, source: TileSource, output: Output) -> None:
        self.source, self.output = source, output
        self.load: Load | None = None
        self.flights: _Flights | None = None
        self.cache = source.session.cache
        self._knowledge = knowledge_of(source)

    async def take(self, tile: int, pixels: NDArray[Any]) -> None:
        """Put pixels of a whole tile, or of the region that is wanted of it, into the output: somebody had them."""
        region = None
        if pixels.shape != tuple(self.source.placement.tile_shapes[tile].tolist()):
            region = self._region(tile)
        await in_thread(self.output.paste, tile, pixels, region)
        self._tell(tile, self.source.tile_url(tile), pixels.nbytes, cached=True)

    async def take_cached(self, tile: int) -> bool:
        """Put the pixels of a tile that the cache holds into the output; False where it holds none."""
        url = self.source.tile_url(tile)
        size = await in_thread(self._paste_cached, tile, url)
        if size is not None:
            self._tell(tile, url, size, cached=True)
        return size is not None

    async def consume(self, job: Job, replies: "Reply | list[Reply] | StoreError") -> None:
        """Put the pixels of one tile into the output."""
        if isinstance(replies, MissingTileError):
            if self.source.ref.options.on_missing == "raise":
                raise replies
            self.output.absent.append(redact(job.url))
            self._tell(job.tile, job.url, 0, absent=True)
        elif isinstance(replies, StoreError):
            await self._whole(job, await self._read(job))
        elif isinstance(replies, Reply):
            await self._whole(job, replies)
        elif job.choice.is_whole:
            self._etag(job, replies)
            data = _extents(job.choice, replies).take(WHOLE)
            await self._whole(job, replies[0]._replace(data=data))
        else:
            await self._part(job, replies)

    async def _whole(self, job: Job, reply: Reply) -> None:
        """Verify, decode and paste a whole file; where its checksum differs, that of another read."""
        pixels = self._paste_run(job, reply.data)
        if pixels is None:
            pixels = await in_thread(partial(self._paste_whole, job, reply.data, last=False))
        if pixels is None:
            again = await self._read(job)
            pixels = await in_thread(partial(self._paste_whole, job, again.data, last=True))
        if pixels is not None:
            self._land(job, pixels if job.choice.is_whole else pixels[job.choice.region])
            if self.cache is None and _leaves(self._region(job.tile), pixels.shape):
                keep(self.source, job.tile, pixels)
        self._tell(job.tile, job.url, len(reply.data))

    async def _part(self, job: Job, replies: list[Reply]) -> None:
        """Decode and paste a part of a file, whose layout is known, to be confirmed, or to be found out."""
        choice, etag = job.choice, self._etag(job, replies)
        changed = None not in (choice.etag, etag) and choice.etag != etag
        if choice.part is None or choice.layout is None:
            await self._discover(job, replies[0])
        elif changed or not self._is_so(job, replies):
            if choice.head is None and choice.etag is None:
                self._knowledge.drop_hint()
            self._knowledge.forget(job.tile)
            await self._discover(job, None)
        else:
            if choice.head is not None:
                self._knowledge.see(job.tile, choice.layout, etag)
            await self._paste_part(job, choice, replies)

    def _is_so(self, job: Job, replies: list[Reply]) -> bool:
        """Return whether the file has the layout that was thought, as far as that can be seen."""
        layout = job.choice.layout
        if layout is None or not codecs.fits_size(layout, _size(replies)):
            return False
        return job.choice.head is None or layout.confirms(_extents(job.choice, replies).take(job.choice.head))

    async def _discover(self, job: Job, header: Reply | None) -> None:
        """Find out the layout from the header of the file, then read the part, or the whole where that is cheaper."""
        steps = codecs.layout(job.request)
        found: codecs.Layout | None = None
        replies: list[Reply] = []
        try:
            wanted = next(steps)
            while True:
                reply = header if header is not None and not replies else await self._header(job, wanted)
                replies.append(reply)
                wanted = steps.send(bytes(reply.data))
        except StopIteration as stop:
            found = stop.value
        if found is None:
            self._knowledge.see_whole(job.request)
        if found is None or not codecs.fits_size(found, _size(replies)):
            await self._whole(job, await self._read(job))
            return
        self._knowledge.see(job.tile, found, self._etag(job, replies))
        self._knowledge.learn(job.request, found)
        target = Target(self.source, job.tile, job.request)
        choice = part_of(target, target.boxes(self.output.plan.tiles[job.tile]), found)
        if choice is None:
            await self._whole(job, await self._read(job))
            return
        try:
            parts = await gather(self._read(job, span) for span in choice.ranges)
        except StoreError as error:
            if error.status != _PAST_END:
                raise
            await self._whole(job, await self._read(job))  # cut short: its codec says so
            return
        self._etag(job, [*replies, *parts])
        await self._paste_part(job, choice, parts)

    async def _paste_part(self, job: Job, choice: Choice, replies: list[Reply]) -> None:
        size = sum(len(reply.data) for reply in replies)
        try:
            if choice.layout is not None and choice.layout.repeats and size <= _INLINE_BYTES:
                pixels = self._decode_part(job, choice, replies)
            else:
                pixels = await in_thread(self._decode_part, job, choice, replies)
        except codecs.LayoutError:  # what is wrong with it, if anything is, the whole file tells
            self._knowledge.forget(job.tile)
            await self._whole(job, await self._read(job))
            return
        self._land(job, pixels)
        self._tell(job.tile, job.url, size)

    def _decode_part(self, job: Job, choice: Choice, replies: Sequence[Reply]) -> NDArray[Any]:
        part = choice.part
        if part is None or choice.region is None:
            raise RuntimeError("a part without a layout cannot be decoded")
        pixels = part_pixels(self.source, job.request, part, _extents(choice, replies).take_all(part.ranges))
        self.output.paste(job.tile, pixels, choice.region)
        return pixels

    def _paste_run(self, job: Job, data: codecs.Bytes) -> NDArray[Any] | None:
        """Paste a file that needs nothing but copying, at once; None where it needs more, or a copy takes long."""
        verified = self.source.ref.options.verify != "never" and self.source.document.tiles.digest(job.tile) is not None
        if self.output.pixels.nbytes > _INLINE_OUTPUT_BYTES or verified or self.cache is not None:
            return None
        pixels = self._run(job, data)
        if pixels is not None:
            self.output.paste(job.tile, pixels)
        return pixels

    def _run(self, job: Job, data: codecs.Bytes) -> NDArray[Any] | None:
        """Return the pixels of a file that is laid out as others are, a view of its bytes; None where it is not."""
        part = run_of(Target(self.source, job.tile, job.request), data, self._knowledge)
        if part is None:
            return None
        ((start, stop),) = part.ranges
        return part_pixels(self.source, job.request, part, [memoryview(data)[start:stop]])

    def _paste_whole(self, job: Job, data: Any, *, last: bool) -> NDArray[Any] | None:
        """Verify, decode and paste; None where the checksum differs and this was not the `last` try."""
        if not is_right(self.source, job.tile, job.url, data, last=last):
            return None
        pixels = self._run(job, data)
        if pixels is None:
            pixels = whole_pixels(self.source, job.tile, job.request, data)
        self.output.paste(job.tile, pixels)
        if self.cache:
            self.cache.put(self.source.cache_key(job.tile, job.url), bytes(data))
        return pixels

    def _paste_cached(self, tile: int, url: str) -> int | None:
        data = self.cache.get(self.source.cache_key(tile, url)) if self.cache else None
        if data is None or not is_right(self.source, tile, url, data, last=False):
            return None
        self.output.paste(tile, whole_pixels(self.source, tile, self.source.tile_request(tile, url), data))
        return len(data)

    async def _read(self, job: Job, span: ByteRange = WHOLE) -> Reply:
        request = Request(job.url, span, self.source.owner(job.tile))
        return await self.source.session.store.read(request)

    async def _header(self, job: Job, span: ByteRange) -> Reply:
        """Read a range that a header asks for; nothing where it points past the end: the codec says so better."""
        try:
            return await self._read(job, span)
        except StoreError as error:
            if error.status != _PAST_END:
                raise
            return Reply(b"", None, None)

    def _region(self, tile: int) -> tuple[slice, ...]:
        return around(self.output.plan.tiles[tile])

    def _etag(self, job: Job, replies: Sequence[Reply]) -> str | None:
        """Return the ETag that all replies share.

        Raises
        ------
        StoreError
            The file changed between two of them: its parts do not belong together.
        """
        etags = {reply.etag for reply in replies if reply.etag is not None}
        sizes = {reply.size for reply in replies if reply.size is not None}
        if len(etags) > 1 or len(sizes) > 1:
            raise StoreError(
                f"{redact(job.url)} changed while it was read ({_told(etags, sizes)}). Read it again.",
                url=redact(job.url),
            )
        return next(iter(etags), None)

    def _land(self, job: Job, pixels: NDArray[Any]) -> None:
        if self.flights is not None:
            self.flights.land(job.key, pixels)

    def _tell(self, tile: int, url: str, size: int, *, absent: bool = False, cached: bool = False) -> None:
        if self.load is not None:
            labels = self.source.document.where(tile)
            self.load.read(url, size, labels, absent=absent, cached=cached)


def _size(replies: Sequence[Reply]) -> int | None:
    """Return the size of the file, where one of the replies tells it."""
    return next((reply.size for reply in replies if reply.size is not None), None)


def _extents(choice: Choice, replies: Sequence[Reply]) -> Extents:
    return Extents((span.start, reply.data) for span, reply in zip(choice.ranges, replies, strict=True))


def _leaves(region: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Return whether `region` leaves out part of a tile of `shape`."""
    return any(part.stop - part.start < size for part, size in zip(region, shape, strict=True))


def _told(etags: set[str], sizes: set[int]) -> str:
    return (
        f"ETag {' then '.join(sorted(etags))}" if len(etags) > 1 else f"size {' then '.join(map(str, sorted(sizes)))}"
    )


def _shifted(part: Paste, region: tuple[slice, ...]) -> Paste:
    """Return `part` for an array that holds `region` of the tile only."""
    return Paste(tuple(_less(index, span.start) for index, span in zip(part.src, region, strict=True)), part.dst)


def _less(index: Index, start: int) -> Index:
    if isinstance(index, slice):
        return slice(index.start - start, index.stop - start, index.step)
    return index - start
