"""Is a tile read whole or in part, and which ranges are asked for? Pure.

Whole where that is cheaper: tiles below 256 KiB, more than half of the bytes wanted, formats that are streams. Where
the layout of a file is not known, reading a part costs one more round trip, and is chosen only where the bytes that it
saves take longer than that, at the speed that was seen of the origin.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import NamedTuple

from slicedfs import codecs
from slicedfs.errors import CodecError
from slicedfs.layout.grid import Paste
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.read.boxes import Box, Pieces, boxes_of, hull
from slicedfs.read.extents import PART_BYTES, asked, split
from slicedfs.read.knowledge import Knowledge
from slicedfs.source import TileSource
from slicedfs.store import Pace

__all__ = ["Choice", "Origin", "Target", "choose", "part_of", "run_of"]

WHOLE_BYTES = 256 << 10
"""Tiles with fewer bytes of pixels, or of file, are read whole."""
_MOST_WANTED = 0.5
_LARGE_BYTES = 2 * PART_BYTES
_HEAD = ByteRange(0, codecs.HEADER_BYTES)


class Origin(NamedTuple):
    """What is known of where a tile lies."""

    pace: Pace
    """How fast it is."""
    gives_ranges: bool
    """False where whole objects come whatever is asked for."""
    typical_bytes: int | None
    """Size of the file that was read whole last; None where there was none."""


class Target(NamedTuple):
    """One tile of a source."""

    source: TileSource
    """What it belongs to."""
    tile: int
    """Its number."""
    request: codecs.TileRequest
    """What the document says of it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its pixels along each image axis."""
        return tuple(self.source.placement.tile_shapes[self.tile].tolist())

    @property
    def stated(self) -> tuple[tuple[str, int], ...] | None:
        """The shape that the document states, dim by dim; None where it states none."""
        return None if self.request.shape is None else tuple(self.request.shape.items())

    def boxes(self, pastes: Sequence[Paste]) -> tuple[Box, ...]:
        """Return the boxes of the tile that hold what `pastes` want of it."""
        row_bytes = self.source.placement.tile_shapes[self.tile, -1] * self.source.dtype.itemsize
        return boxes_of(pastes, int(row_bytes), self.source.session.options.gap_bytes)


@dataclass(slots=True)
class Choice:
    """How one tile is read."""

    ranges: list[ByteRange]
    """What to ask for, all at once; of an unknown layout only its header. One unbounded range: the whole file."""
    region: Box | None = None
    """The box of the tile around what is wanted; None: all of it."""
    layout: codecs.Layout | None = None
    """Where its pixels lie; None where that is not known, or not needed."""
    part: codecs.Part | Pieces | None = None
    """How to get at the region; None where the layout is not known yet."""
    head: ByteRange | None = None
    """Bytes at the start of the file that tell whether `layout` is right; None where it is known to be."""
    etag: str | None = None
    """Of the file for which that is known; None: not known, or not of a file that was seen."""

    @property
    def is_whole(self) -> bool:
        """True where the file is read as a whole."""
        return self.region is None

    def cost(self, n_bytes: int, row_bytes: int) -> tuple[int, int]:
        """Return (requests, bytes) for a tile of `n_bytes`, of whose rows `row_bytes` are wanted; a guess where needed.

        The bytes of a file are taken to be those of its pixels, where its layout does not tell.
        """
        if self.is_whole:
            return len(self.ranges), n_bytes
        known = sum((span.stop or 0) - span.start for span in self.ranges)
        return (len(self.ranges), known) if self.part is not None else (len(self.ranges) + 1, known + row_bytes)


def choose(target: Target, pastes: Sequence[Paste], origin: Origin, knowledge: Knowledge) -> Choice:
    """Return how to read what `pastes` want of a tile."""
    shape = target.shape
    n_bytes = prod(shape) * target.source.dtype.itemsize
    if n_bytes < WHOLE_BYTES or not _may_split(target, origin) or knowledge.is_whole(target.request):
        return _whole(origin)
    boxes = target.boxes(pastes)
    layout, head, etag = _layout(target, knowledge)
    if _pixels(boxes) > _MOST_WANTED * prod(shape):
        return _large(layout, origin, n_bytes)
    if layout is not None:
        found = _alike(target, boxes, layout, head, knowledge)
        return _whole(origin) if found is None else replace(found, etag=etag)
    return _unknown(boxes, shape, origin, n_bytes)


def _pixels(boxes: Sequence[Box]) -> int:
    return sum([prod([part.stop - part.start for part in box]) for box in boxes])


def _may_split(target: Target, origin: Origin) -> bool:
    """Say whether parts of the tile may be read: not where the whole is to be verified, or to be kept."""
    source = target.source
    must_verify = source.ref.options.verify == "always" and source.document.tiles.digest(target.tile) is not None
    return origin.gives_ranges and source.session.cache is None and not must_verify


def _layout(target: Target, knowledge: Knowledge) -> tuple[codecs.Layout | None, ByteRange | None, str | None]:
    """Return the best guess at the layout, the bytes that must confirm it, and the ETag of the file that it was of."""
    seen = knowledge.seen(target.tile)
    if seen is not None:
        return seen.layout, None, seen.etag
    layout = knowledge.hint(target.request)
    if layout is not None:
        return layout, None, None
    layout = knowledge.pattern(target.request)
    return layout, None if layout is None else layout.head, None


def _whole(origin: Origin) -> Choice:
    """Return the choice of the whole file; in parts where the one before it was large."""
    if origin.typical_bytes is None or origin.typical_bytes < _LARGE_BYTES or not origin.gives_ranges:
        return Choice([WHOLE])
    return Choice(_open_ended(origin.typical_bytes))


def _large(layout: codecs.Layout | None, origin: Origin, n_bytes: int) -> Choice:
    """Return the choice of the whole file, whose size may be known from its layout."""
    if layout is None or layout.size is None or n_bytes < _LARGE_BYTES:
        return _whole(origin)
    return Choice(_open_ended(layout.size))


def _open_ended(size: int) -> list[ByteRange]:
    """Return the parts of a file of about `size` bytes; the last one goes on to its end, wherever that is."""
    *parts, last = split(ByteRange(0, size))
    return [*parts, ByteRange(last.start)]


def _alike(
    target: Target, boxes: tuple[Box, ...], layout: codecs.Layout, head: ByteRange | None, knowledge: Knowledge
) -> Choice | None:
    """Return what :func:`part_of` does; for the same boxes of a file of the same layout, from memory."""
    corners = [(part.start, part.stop) for box in boxes for part in box]
    key = (id(layout), head is None, target.stated, target.shape, *corners)
    found: Choice | None = knowledge.choices.get(key)
    if found is None or found.layout is not layout:
        found = part_of(target, boxes, layout, head)
        if found is not None and layout.repeats:
            knowledge.remember(key, found)
        return found
    return replace(found, part=None if found.part is None else found.part.at(target.request.url))


def part_of(
    target: Target, boxes: tuple[Box, ...], layout: codecs.Layout, head: ByteRange | None = None
) -> Choice | None:
    """Return the choice of a part of a file of this layout; None where the whole is cheaper, or tells what is wrong.

    `head`: bytes that must come with it, to confirm the layout.
    """
    source, request = target.source, target.request
    dims = source.placement.image_dims
    if not _agrees(layout.header, target.stated, dims, target.shape):
        return None
    parts = [codecs.part(layout, request, dims, box) for box in boxes]
    part = parts[0] if len(parts) == 1 else Pieces.of(boxes, parts)
    wanted = sum([(span.stop or 0) - span.start for span in part.ranges])
    size = layout.size
    if size is not None and (size < WHOLE_BYTES or wanted > _MOST_WANTED * size):
        return None
    spans = list(part.ranges) if head is None else sorted([head, *part.ranges])
    return Choice(asked(spans, source.session.options.gap_bytes), hull(boxes), layout, part, head)


def run_of(target: Target, data: codecs.Bytes, knowledge: Knowledge) -> codecs.Part | None:
    """Return how to get at the pixels of a whole file without looking at all of its header again.

    None where it is not one run of bytes, laid out as a file that was seen before: then its codec decodes it.
    """
    layout = knowledge.pattern(target.request)
    if layout is None or not layout.repeats or not codecs.fits_size(layout, len(data)):
        return None
    if layout.head is not None and not layout.confirms(memoryview(data)[: layout.head.stop]):
        return None
    shape, stated = target.shape, target.stated
    key = ("run", id(layout), stated, shape)
    found: tuple[codecs.Layout, codecs.Part | None] | None = knowledge.choices.get(key)
    if found is None or found[0] is not layout:
        dims = target.source.placement.image_dims
        agrees = _agrees(layout.header, stated, dims, shape)
        box = tuple(slice(0, size) for size in shape)
        part = codecs.part(layout, target.request, dims, box) if agrees and all(shape) else None
        found = (layout, part if part is not None and len(part.ranges) == 1 else None)
        knowledge.remember(key, found)
    return None if found[1] is None else found[1].at(target.request.url)


@lru_cache(maxsize=256)  # the tiles of a set are alike
def _agrees(
    header: codecs.TileHeader, stated: tuple[tuple[str, int], ...] | None, dims: tuple[str, ...], shape: tuple[int, ...]
) -> bool:
    """Return whether a file with this header has the axes `dims` of `shape`."""
    request = codecs.TileRequest("", shape=None if stated is None else dict(stated))
    try:
        fitted = codecs.fit_header(header, request)
    except CodecError:
        return False
    sizes = dict(zip(fitted.dims, fitted.shape, strict=True))
    others = prod(size for dim, size in sizes.items() if dim not in dims)
    return others == 1 and tuple(sizes.get(dim, 1) for dim in dims) == shape


def _unknown(boxes: tuple[Box, ...], shape: tuple[int, ...], origin: Origin, n_bytes: int) -> Choice:
    """Return the choice of a file whose header must be read first: worth it where that saves time."""
    size = min(n_bytes, origin.typical_bytes or n_bytes)
    rows = _pixels([box[:-1] for box in boxes]) / max(prod(shape[:-1]), 1)
    saved = size - (rows * size + codecs.HEADER_BYTES)
    if saved > max(WHOLE_BYTES, origin.pace.latency_s * origin.pace.bytes_per_s):
        return Choice([_HEAD], hull(boxes))
    return _whole(origin)
