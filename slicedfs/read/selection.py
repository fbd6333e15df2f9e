"""Reads a selection into one array: the output, the tiles, what need not be fetched."""

import asyncio
import warnings
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs import codecs
from slicedfs.errors import MissingTileWarning
from slicedfs.events import loading
from slicedfs.layout.grid import Touched
from slicedfs.layout.selection import Selection
from slicedfs.read.choice import Choice, Origin, Target, choose
from slicedfs.read.knowledge import knowledge_of
from slicedfs.read.shared import Flights, Key, kept, number_of
from slicedfs.read.tiles import Job, Output, TileReader
from slicedfs.source import TileSource
from slicedfs.store import Pace, Request, free_bytes, gather
from slicedfs.url import redact

__all__ = ["choices", "read_selection"]

_SMALL_BYTES = 32 << 20
"""Results up to this size are allocated without asking the system what is free."""
_UNSEEN = Origin(Pace(), gives_ranges=True, typical_bytes=None)
_flights = Flights()


async def read_selection(source: TileSource, selection: Selection) -> NDArray[Any]:
    """Return the selected pixels; every touched tile is requested once, all concurrently.

    Returns
    -------
    numpy.ndarray
        Of ``selection.shape`` and ``source.dtype``.

    Raises
    ------
    MemoryError
        Before any request, if the result is larger than ``max_bytes`` or free memory.
    MissingTileError, StoreError, ChecksumError, CodecError, UrlPolicyError
    """
    plan = source.placement.grid.touched(selection)
    _refuse_too_large(source, plan.shape)
    output = Output.allocate(source, plan, selection.groups)
    reader = TileReader(source, output)
    with loading("tile", len(plan.tiles)) as reader.load:
        left = await _take_kept(reader, list(plan.tiles))
        while left:
            left = await _fetch(reader, left)
    if output.absent:
        _warn(output.absent)
    return _arranged(output.pixels, selection)


async def _take_kept(reader: TileReader, tiles: list[int]) -> list[int]:
    """Paste the tiles that memory or the cache hold; return the others."""
    if reader.source.session.cache is not None:
        found = await gather(map(reader.take_cached, tiles))
        return [tile for tile, was_found in zip(tiles, found, strict=True) if not was_found]
    left = []
    for tile in tiles:
        pixels = kept(reader.source, tile)
        if pixels is None:
            left.append(tile)
        else:
            await reader.take(tile, pixels)
    return left


async def _fetch(reader: TileReader, tiles: list[int]) -> list[int]:
    """Fetch `tiles`, except those that other reads are fetching; return those of which the other read failed."""
    round_ = _Round(reader)
    try:
        await reader.source.session.store.fetch(round_.jobs(tiles), reader.consume)
        return [tile for tile, flight in round_.joined if not await round_.taken(tile, flight)]
    finally:
        round_.end()


class _Round:
    """One go at some tiles."""

    def __init__(self, reader: TileReader) -> None:
        self.reader = reader
        self.joined: list[tuple[int, asyncio.Future[NDArray[Any] | None]]] = []
        reader.flights = self
        self._started: set[Key] = set()

    def jobs(self, tiles: list[int]) -> Iterator[tuple[Job, Request | list[Request]]]:
        """Yield what to ask for, tile by tile, as the store gets to it."""
        source = self.reader.source
        number = number_of(source)
        for tile, url, request, choice in choices(source, self.reader.output.plan, tiles):
            key = (number, tile, _bounds(choice))
            flight = _flights.join(key)
            if flight is not None:
                self.joined.append((tile, flight))
                continue
            _flights.start(key)
            self._started.add(key)
            yield Job(tile, url, request, choice, key), _requests(url, source.owner(tile), choice)

    async def taken(self, tile: int, flight: "asyncio.Future[NDArray[Any] | None]") -> bool:
        """Paste what another read gives; False where it gives nothing."""
        pixels = await asyncio.shield(flight)
        if pixels is None:
            return False
        await self.reader.take(tile, pixels)
        return True

    def land(self, key: Key, pixels: NDArray[Any]) -> None:
        """Give the pixels to the reads that wait for them."""
        self._started.discard(key)
        _flights.land(key, pixels)

    def end(self) -> None:
        """Tell the reads that still wait that nothing will come; let go of the reader, which holds the output."""
        self.reader.flights = None
        for key in self._started:
            _flights.land(key, None)


def choices(
    source: TileSource, plan: Touched, tiles: Iterable[int]
) -> Iterator[tuple[int, str, codecs.TileRequest, Choice]]:
    """Yield each of `tiles` with its URL, what the document says of it, and how to read what `plan` wants of it."""
    knowledge = knowledge_of(source)
    for tile in tiles:
        url = source.tile_url(tile)
        request = source.tile_request(tile, url)
        origin = _origin(source, url, source.owner(tile))
        yield tile, url, request, choose(Target(source, tile, request), plan.tiles[tile], origin, knowledge)


def _origin(source: TileSource, url: str, owner: str) -> Origin:
    """Return what is known of where `url` lies."""
    known = source.session.store.reader(Request(url, source=owner))
    return _UNSEEN if known is None else Origin(known.slots.pace, known.gives_ranges(), known.typical_bytes)


def _bounds(choice: Choice) -> tuple[tuple[int, int], ...]:
    return () if choice.region is None else tuple((part.start, part.stop) for part in choice.region)


def _requests(url: str, owner: str, choice: Choice) -> Request | list[Request]:
    requests = [Request(url, span, owner) for span in choice.ranges]
    return requests[0] if choice.is_whole and len(requests) == 1 else requests


def _warn(absent: list[str]) -> None:
    """Warn once of the absent files."""
    shown = ", ".join(absent[:3]) + (", …" if len(absent) > 3 else "")  # noqa: PLR2004
    warnings.warn(f"{len(absent)} absent file(s) read as fill_value: {shown}", MissingTileWarning, stacklevel=2)


def _arranged(out: NDArray[Any], selection: Selection) -> NDArray[Any]:
    """Give the flattened output the axes of the selection; a view."""
    shapes = [group.shape for group in selection.groups]
    starts = np.cumsum([0, *map(len, shapes)])
    unfolded = out.reshape([size for shape in shapes for size in shape])
    return unfolded.transpose([int(starts[group]) + axis for group, axis in selection.order])


def _refuse_too_large(source: TileSource, shape: tuple[int, ...]) -> None:
    size = prod(shape) * source.dtype.itemsize
    allowed, why = source.ref.options.max_bytes, "max_bytes allows {}"
    if allowed is None and size > _SMALL_BYTES:
        allowed, why = free_bytes(), "{} are free"
    if allowed is not None and size > allowed:
        limit = why.format(f"{allowed} ({allowed / 2**30:.3g} GiB)")
        raise MemoryError(
            f"{redact(source.document.url)}: the selection has {size} bytes ({size / 2**30:.3g} GiB), but {limit}. "
            "Select less with .isel or .sel, or read in chunks (chunks='auto')."
        )
