"""From the bytes of a tile to pixels that may be pasted: checksum, shape, dtype. No I/O."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs import codecs
from slicedfs.errors import ChecksumError, CodecError
from slicedfs.read.boxes import Pieces
from slicedfs.source import TileSource
from slicedfs.url import redact

__all__ = ["is_right", "part_pixels", "whole_pixels"]

Bytes = bytes | bytearray | memoryview


def is_right(source: TileSource, tile: int, url: str, data: Bytes, *, last: bool) -> bool:
    """Return whether `data` has the sha256 that the document states, or need not be compared.

    Raises
    ------
    ChecksumError
        It has not, and this was the `last` try.
    """
    stated = None if source.ref.options.verify == "never" else source.document.tiles.digest(tile)
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


def whole_pixels(source: TileSource, tile: int, request: codecs.TileRequest, data: Bytes) -> NDArray[Any]:
    """Decode one tile to the shape of its place and a dtype that casts safely.

    Raises
    ------
    CodecError, MissingExtraError
    """
    pixels = codecs.decode(data, request, source.placement.image_dims)
    expected = tuple(source.placement.tile_shapes[tile].tolist())
    if pixels.shape != expected:
        raise CodecError(
            f"{request.url}: has shape {pixels.shape} ({', '.join(source.placement.image_dims)}), but the first "
            f"tile has {expected}, and the document states none. State tile_shape in the document.",
            url=request.url,
            value=pixels.shape,
        )
    return _checked(source, request, pixels)


def part_pixels(
    source: TileSource, request: codecs.TileRequest, part: codecs.Part | Pieces, blocks: Sequence[Bytes]
) -> NDArray[Any]:
    """Decode the region of a tile that `blocks`, the bytes of the ranges of `part`, hold.

    Raises
    ------
    CodecError, MissingExtraError
    """
    return _checked(source, request, part.pixels(blocks))


def _checked(source: TileSource, request: codecs.TileRequest, pixels: NDArray[Any]) -> NDArray[Any]:
    if pixels.dtype != source.dtype and not np.can_cast(pixels.dtype, source.dtype, "safe"):
        raise CodecError(
            f"{request.url}: has dtype {pixels.dtype}, which does not fit into the {source.dtype} of the other "
            "tiles of its tile set. Convert the tile, or put it into another tile set.",
            url=request.url,
            value=str(pixels.dtype),
        )
    return pixels
