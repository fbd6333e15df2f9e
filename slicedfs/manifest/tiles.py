"""The array of tiles, in batches of bounded size, so that memory holds the columns and one batch."""

import re
from collections.abc import Mapping

import msgspec

from slicedfs.manifest import careful, typed
from slicedfs.manifest.checks import Place
from slicedfs.manifest.columns import Batch, Collector, Vocabulary
from slicedfs.manifest.text import NotPlainError, load_part
from slicedfs.model import Tiles

__all__ = ["read_tiles"]

_BATCH_BYTES = 1 << 19
_NEXT_TILE = re.compile(rb"\}\s*,\s*\{")


def read_tiles(tiles: object, counts: Mapping[str, int], place: Place) -> Tiles:
    """Read the tiles of a tile set.

    Parameters
    ----------
    tiles
        The value of ``tiles``: a list, or a ``msgspec.Raw`` of what should be one.
    counts
        The document's ``shape``: dim -> count.
    place
        The document.

    Raises
    ------
    ManifestError
        A tile breaks a rule of the format.
    NotPlainError
        A ``msgspec.Raw`` holds what only :func:`slicedfs.manifest.text.load` can read or explain.
    """
    vocabulary, collector = Vocabulary(), Collector()
    if isinstance(tiles, msgspec.Raw):
        _read_raw(memoryview(tiles), collector, vocabulary, place)
    elif isinstance(tiles, list):
        collector.add(careful.read_batch(tiles, 0, vocabulary, place), 1)
    else:
        raise place.error("tiles", "must be a list of tiles", tiles)
    return collector.tiles(counts, vocabulary, place)


def _read_raw(array: memoryview, collector: Collector, vocabulary: Vocabulary, place: Place) -> None:
    """Read the text of a JSON array batch by batch.

    Where a batch ends is a guess, but a safe one: it starts at a tile, so if it reads as a list it ends at one. If it
    does not (the guess fell into a text, or into a list inside a tile), a batch four times as long is tried.
    """
    if bytes(array[:1]) != b"[":
        raise NotPlainError
    layout = typed.learn(array)
    start, end, size = 1, len(array) - 1, _BATCH_BYTES
    while True:
        stop, following = _cut(array, start + size, end)
        part = b"".join((b"[", array[start:stop], b"]"))
        batch = _read_part(part, layout, collector.count, vocabulary, place)
        if batch is not None:
            collector.add(batch, following / end)
            start, size = following, _BATCH_BYTES
            if start >= end:
                break
        elif stop == end:
            raise NotPlainError
        else:
            size *= 4


def _cut(array: memoryview, wanted: int, end: int) -> tuple[int, int]:
    """Return where a batch might stop at or after `wanted`, and where the following one starts."""
    match = _NEXT_TILE.search(array, wanted) if wanted < end else None
    return (end, end) if match is None else (match.start() + 1, match.end() - 1)


def _read_part(
    part: bytes, layout: typed.Layout | None, first: int, vocabulary: Vocabulary, place: Place
) -> Batch | None:
    """Read a list of tiles; None where `part` is not JSON."""
    batch = None if layout is None else typed.read_batch(part, layout, first, vocabulary, place)
    if batch is not None:
        return batch
    try:
        objects = load_part(part)
    except (ValueError, RecursionError):
        return None
    return careful.read_batch(objects, first, vocabulary, place)
