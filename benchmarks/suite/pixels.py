"""The image set: its shape, and the pixels of each tile as a function of the tile's place.

Writing and checking use the same function, so no reader is believed: each result is compared after its time is taken.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

__all__ = ["TILE", "ImageSet", "Place", "tile"]

TILE = 512
"""Pixels along a side of a tile."""
Place = tuple[int, int, int, int, int]
"""r, c, z, row and column of a tile in the mosaic."""
_NOISES = 16


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Shape of the image set: an array (r, c, z, y, x) of uint16 in square tiles."""

    r: int = 4
    c: int = 4
    z: int = 16
    mosaic: int = 4
    """Tiles along a side of a plane."""

    @property
    def side(self) -> int:
        """Pixels along a side of a plane."""
        return self.mosaic * TILE

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Pixels as (r, c, z, y, x)."""
        return (self.r, self.c, self.z, self.side, self.side)

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return self.r * self.c * self.z * self.mosaic**2

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        return self.tiles * TILE * TILE * 2

    def planes(self) -> Iterator[tuple[int, int]]:
        """Yield each r, c."""
        yield from product(range(self.r), range(self.c))

    def places(self) -> Iterator[Place]:
        """Yield the place of each tile, in the order r, c, z, row, column."""
        yield from product(range(self.r), range(self.c), range(self.z), range(self.mosaic), range(self.mosaic))


@cache
def _noise(which: int) -> np.ndarray:
    """Give camera noise on a background, as in micrographs: it keeps half its size when compressed."""
    rng = np.random.default_rng(which)
    return np.clip(rng.normal(265, 40, (TILE, TILE)), 0, None).astype(np.uint16)


@cache
def _blob() -> np.ndarray:
    at = np.arange(-12, 13)
    return (900 * np.exp(-(at[:, None] ** 2 + at**2) / 32)).astype(np.uint16)


def tile(place: Place) -> np.ndarray:
    """Give the pixels of one tile, uint16 (y, x): noise, 24 blobs, and the place itself in the first five pixels."""
    rng = np.random.default_rng(place)
    dy, dx = rng.integers(0, TILE, 2).tolist()
    pixels = np.roll(_noise(int(rng.integers(_NOISES))), (dy, dx), (0, 1))
    for y, x in rng.integers(0, TILE - 25, (24, 2)).tolist():
        pixels[y : y + 25, x : x + 25] += _blob()
    pixels[0, : len(place)] = place
    return pixels
