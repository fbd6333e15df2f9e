"""What is asked for: each workload as a list of reads, each read as five slices (r, c, z, y, x).

The reads of one round differ from those of the next: a reader that keeps tiles in memory has no use of them, unless it
keeps the whole volume. Round 0 warms connections up and is reported as "first".
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks.suite.pixels import TILE, ImageSet, Place, tile

__all__ = ["READS", "TITLES", "Read", "asked", "reads", "size_of", "touched", "wrong"]

WINDOW = 100
"""Pixels along a side of a small window."""
TITLES = {
    "W1": "open a document, by its number of tiles",
    "W2": "one plane",
    "W3": "a window of 100 x 100 through all r, c, z, in one tile of the mosaic",
    "W3x": "the same where four tiles of the mosaic meet",
    "W4": "the z column of one tile of the mosaic",
    "W4w": "a window of 100 x 100 through the z column",
    "W5": "the whole volume",
    "W5q": "a quarter of the volume: one r",
    "W6": "single random tiles, one after another",
    "W7": "the same read twice, with tile_cache",
}
READS = ("W2", "W4", "W4w", "W3", "W3x", "W6", "W5q", "W5")
"""The workloads that every reader can do, cheapest first."""


@dataclass(frozen=True, slots=True)
class Read:
    """One selection, half-open, as (start, stop) of each axis."""

    r: tuple[int, int]
    c: tuple[int, int]
    z: tuple[int, int]
    y: tuple[int, int]
    x: tuple[int, int]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """All five, in the order of the axes."""
        return (self.r, self.c, self.z, self.y, self.x)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of a numpy-like array (r, c, z, y, x)."""
        return tuple(slice(*bounds) for bounds in self.ranges)

    @property
    def isel(self) -> dict[str, slice]:
        """The same by name."""
        return dict(zip(("r", "c", "z", "y", "x"), self.slices, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of the result."""
        return tuple(stop - start for start, stop in self.ranges)

    @property
    def nbytes(self) -> int:
        """Bytes of the result."""
        return int(np.prod(self.shape)) * 2


@dataclass(frozen=True, slots=True)
class Part:
    """What a read wants of one tile."""

    place: Place
    src: tuple[slice, slice]
    """y, x inside the tile."""
    dst: tuple[int | slice, ...]
    """Where that lies in the result."""


def touched(read: Read) -> list[Part]:
    """Give the part of each tile that `read` touches."""
    rows, columns = _along(read.y), _along(read.x)
    return [
        Part((r, c, z, j, i), (ys, xs), (r - read.r[0], c - read.c[0], z - read.z[0], yd, xd))
        for r, c, z in product(range(*read.r), range(*read.c), range(*read.z))
        for j, ys, yd in rows
        for i, xs, xd in columns
    ]


def _along(bounds: tuple[int, int]) -> list[tuple[int, slice, slice]]:
    start, stop = bounds
    found = []
    for i in range(start // TILE, (stop - 1) // TILE + 1):
        first, last = max(start, i * TILE), min(stop, (i + 1) * TILE)
        found.append((i, slice(first - i * TILE, last - i * TILE), slice(first - start, last - start)))
    return found


def reads(workload: str, images: ImageSet, turn: int, singles: int = 50) -> list[Read]:
    """Give the reads of one round, which are done one after another.

    Parameters
    ----------
    turn
        Number of the round; other pixels for each.
    singles
        Tiles of W6.
    """
    rng = np.random.default_rng([turn, *workload.encode()])
    whole = Read(*((0, length) for length in images.shape))
    plane = whole.y
    r, c, z, j, i = (int(rng.integers(n)) for n in (images.r, images.c, images.z, images.mosaic, images.mosaic))
    one = {"r": (r, r + 1), "c": (c, c + 1)}
    row, column = _tile_bounds(j), _tile_bounds(i)
    low, left = (int(n) for n in rng.integers(1, TILE - WINDOW - 1, 2))
    window = (row[0] + low, row[0] + low + WINDOW), (column[0] + left, column[0] + left + WINDOW)
    corner = [(n * TILE - WINDOW // 2, n * TILE + WINDOW // 2) for n in rng.integers(1, images.mosaic, 2).tolist()]
    if workload == "W6":
        return [_single(images, rng) for _ in range(singles)]
    return [
        {
            "W2": Read(**one, z=(z, z + 1), y=plane, x=plane),
            "W3": Read(whole.r, whole.c, whole.z, *window),
            "W3x": Read(whole.r, whole.c, whole.z, corner[0], corner[1]),
            "W4": Read(**one, z=whole.z, y=row, x=column),
            "W4w": Read(one["r"], one["c"], whole.z, *window),
            "W5": whole,
            "W5q": Read((turn % images.r, turn % images.r + 1), whole.c, whole.z, plane, plane),
        }[workload]
    ]


def _single(images: ImageSet, rng: np.random.Generator) -> Read:
    r, c, z, j, i = (int(rng.integers(n)) for n in (images.r, images.c, images.z, images.mosaic, images.mosaic))
    return Read((r, r + 1), (c, c + 1), (z, z + 1), _tile_bounds(j), _tile_bounds(i))


def _tile_bounds(i: int) -> tuple[int, int]:
    return (i * TILE, (i + 1) * TILE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a workload asks for, by arithmetic."""

    bytes: int
    """Bytes of the results."""
    tiles: int
    """Tiles touched."""
    row_bytes: int
    """Bytes of the rows touched: the least that ranges can move."""


def asked(selections: list[Read]) -> Asked:
    """Add up what `selections` ask for."""
    parts = [part for read in selections for part in touched(read)]
    rows = sum(part.src[0].stop - part.src[0].start for part in parts)
    return Asked(sum(read.nbytes for read in selections), len(parts), rows * TILE * 2)


def size_of(workload: str, images: ImageSet, singles: int) -> Asked:
    """Add up what one round asks for; rounds are equal in this."""
    return asked(reads(workload, images, 0, singles))


def wrong(read: Read, result: np.ndarray, most: int = 16) -> str:
    """Tell how `result` differs from the pixels that were written, "" if it does not; looks at `most` tiles."""
    if result.shape != read.shape or result.dtype != np.uint16:
        return f"{result.dtype} {result.shape} instead of uint16 {read.shape}"
    parts = touched(read)
    for part in parts[:: max(1, len(parts) // most)]:
        if not np.array_equal(result[part.dst], tile(part.place)[part.src]):
            return f"other pixels in tile {part.place}"
    return ""
