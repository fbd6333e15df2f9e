"""Reads a selection: which tiles, their bytes, their pixels, into one array."""

import hashlib
import warnings
from collections.abc import Container, Iterator
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs import codecs
from slicedfs.errors import ChecksumError, CodecError, MissingTileError, MissingTileWarning
from slicedfs.events import Load, loading
from slicedfs.layout.grid import Touched, paste
from slicedfs.layout.selection import Group, Selection
from slicedfs.source import TileSource
from slicedfs.store import Reply, Request, free_bytes, gather, in_thread
from slicedfs.url import redact

__all__ = ["read_selection"]

_SMALL_BYTES = 32 << 20
"""Results up to this size are allocated without asking the system what is free."""


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
    reader = _Reader(source, plan, selection.groups)
    with loading("tile", len(plan.tiles)) as reader.load:
        kept = await gather(map(reader.take_kept, plan.tiles)) if reader.cache else []
        done = {tile for tile, was_kept in zip(plan.tiles, kept, strict=False) if was_kept}
        await source.session.store.fetch(reader.requests(done), reader.consume)
    if reader.absent:
        reader.warn()
    return _arranged(reader.out, selection)


class _Reader:
    """One read under way."""

    def __init__(self, source: TileSource, plan: Touched, groups: tuple[Group, ...]) -> None:
        self.source, self.plan, self.groups = source, plan, groups
        self.options = source.ref.options
        may_miss = plan.missing or self.options.on_missing == "fill"
        self.out = (
            np.full(plan.shape, source.fill_value, source.dtype) if may_miss else np.empty(plan.shape, source.dtype)
        )
        self.absent: list[str] = []
        self.load: Load | None = None
        self.cache = source.session.cache

    def requests(self, done: Container[int]) -> Iterator[tuple[tuple[int, str], Request]]:
        """Return one request a touched tile that is not `done`, keyed by its number and URL."""
        for tile in self.plan.tiles:
            if tile not in done:
                url = self.source.tile_url(tile)
                yield (tile, url), Request(url, source=self.source.owner(tile))

    async def take_kept(self, tile: int) -> bool:
        """Put the pixels of a tile that the cache holds into the output; False where it holds none."""
        url = self.source.tile_url(tile)
        size = await in_thread(self._paste_kept, tile, url)
        if size is not None:
            self._tell(tile, url, size, cached=True)
        return size is not None

    def _paste_kept(self, tile: int, url: str) -> int | None:
        data = self.cache.get(self.source.cache_key(tile, url)) if self.cache else None
        return len(data) if data is not None and self._pasted(tile, url, data, last=False) else None

    async def consume(self, key: tuple[int, str], reply: Reply | MissingTileError) -> None:
        """Put the pixels of one tile into the output."""
        tile, url = key
        if isinstance(reply, MissingTileError):
            if self.options.on_missing == "raise":
                raise reply
            self.absent.append(redact(url))
            self._tell(tile, url, 0, absent=True)
            return
        if not await in_thread(partial(self._paste, tile, url, reply.data, last=False)):
            again = await self.source.session.store.read(Request(url, source=self.source.owner(tile)))
            await in_thread(partial(self._paste, tile, url, again.data, last=True))
        self._tell(tile, url, len(reply.data))

    def _tell(self, tile: int, url: str, size: int, *, absent: bool = False, cached: bool = False) -> None:
        if self.load is not None:
            labels = self.source.document.where(tile)
            self.load.read(url, size, labels, absent=absent, cached=cached)

    def _paste(self, tile: int, url: str, data: bytes, *, last: bool) -> bool:
        """Verify, decode and paste; False where the checksum differs and this was not the `last` try."""
        if not self._pasted(tile, url, data, last=last):
            return False
        if self.cache:
            self.cache.put(self.source.cache_key(tile, url), data)
        return True

    def _pasted(self, tile: int, url: str, data: bytes, *, last: bool) -> bool:
        if not self._verified(tile, url, data, last=last):
            return False
        pixels = self._pixels(tile, url, data)
        for part in self.plan.tiles[tile]:
            paste(pixels, self.out, part, self.groups)
        return True

    def _verified(self, tile: int, url: str, data: bytes, *, last: bool) -> bool:
        stated = None if self.options.verify == "never" else self.source.document.tiles.digest(tile)
        if stated is None:
            return True
        found = hashlib.sha256(data).digest()
        if found != stated and last:
            raise ChecksumError(
                f"{redact(url)}: has sha256 {found.hex()} ({len(data)} bytes), but the document states "
                f'{stated.hex()}; read twice. Repair the file, or pass verify="never" to read it as it is.',
                url=redact(url),
                value=found.hex(),
            )
        return found == stated

    def _pixels(self, tile: int, url: str, data: bytes) -> NDArray[Any]:
        """Decode one tile to the shape of its place and a dtype that casts safely."""
        source = self.source
        pixels = codecs.decode(data, source.tile_request(tile, url), source.placement.image_dims)
        expected = tuple(source.placement.tile_shapes[tile].tolist())
        if pixels.shape != expected:
            raise CodecError(
                f"{redact(url)}: has shape {pixels.shape} ({', '.join(source.placement.image_dims)}), but the first "
                f"tile has {expected}, and the document states none. State tile_shape in the document.",
                url=redact(url),
                value=pixels.shape,
            )
        if not np.can_cast(pixels.dtype, source.dtype, "safe"):
            raise CodecError(
                f"{redact(url)}: has dtype {pixels.dtype}, which does not fit into the {source.dtype} of the other "
                "tiles of its tile set. Convert the tile, or put it into another tile set.",
                url=redact(url),
                value=str(pixels.dtype),
            )
        return pixels

    def warn(self) -> None:
        """Warn once of the absent files."""
        shown = ", ".join(self.absent[:3]) + (", …" if len(self.absent) > 3 else "")  # noqa: PLR2004
        warnings.warn(
            f"{len(self.absent)} absent file(s) read as fill_value: {shown}", MissingTileWarning, stacklevel=2
        )


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
