"""Readers of the same documents: slicedimage, and what people write by hand with dask.delayed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.suite.data import WIDTH, stem
from benchmarks.suite.pixels import TILE, ImageSet, Place
from benchmarks.suite.workloads import Read, touched

__all__ = ["DaskDelayed", "Slicedimage"]


class Slicedimage:
    """``Reader.parse_doc(…)`` and ``tile.numpy_array``, in one thread as it comes, or in a pool of the user's own."""

    def __init__(self, base: str, images: ImageSet, data: str, *, threads: int) -> None:  # noqa: ARG002 - as all
        import warnings

        from slicedimage import Reader

        warnings.simplefilter("ignore")
        document = Reader.parse_doc(f"{data}.json", base)
        self._tiles = {self._place(tile): tile for tile in document.tiles()}
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    @staticmethod
    def _place(tile: object) -> Place:
        (y, _), (x, _) = (tile.coordinates[name] for name in ("yc", "xc"))
        at = {str(getattr(key, "value", key)): index for key, index in tile.indices.items()}
        return (at["r"], at["c"], at["z"], round(y / WIDTH / TILE), round(x / WIDTH / TILE))

    def read(self, read: Read) -> np.ndarray:
        """Read each tile that is touched, whole."""
        parts = touched(read)
        out = np.empty(read.shape, np.uint16)

        def paste(part: object) -> None:
            out[part.dst] = self._tiles[part.place].numpy_array[part.src]

        list((self._pool.map if self._pool else map)(paste, parts))
        return out


class DaskDelayed:
    """A dask array of one delayed load a tile, stacked to (r, c, z, y, x); fsspec and numpy.load inside."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        import dask
        import dask.array as da

        def lazy(place: Place) -> da.Array:
            loaded = dask.delayed(_load)(f"{base}/npy/{stem(place)}.npy")
            return da.from_delayed(loaded, (TILE, TILE), np.uint16)

        span = range(images.mosaic)
        planes = [
            [
                [da.block([[lazy((r, c, z, j, i)) for i in span] for j in span]) for z in range(images.z)]
                for c in range(images.c)
            ]
            for r in range(images.r)
        ]
        self._array = da.stack([da.stack([da.stack(stack) for stack in channel]) for channel in planes])

    def read(self, read: Read) -> np.ndarray:
        """Read by slices."""
        return self._array[read.slices].compute(scheduler="threads")


def _load(url: str) -> np.ndarray:
    import fsspec

    with fsspec.open(url, "rb") as file:
        return np.load(file)
