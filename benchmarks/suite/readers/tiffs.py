"""tifffile over fsspec's file objects, and async-tiff."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from benchmarks.suite.data import stem
from benchmarks.suite.pixels import TILE, ImageSet
from benchmarks.suite.workloads import Part, Read, touched

__all__ = ["AsyncTiff", "Aszarr", "Imread"]


class Imread:
    """``tifffile.imread(fsspec file)`` of each tile's TIFF, in a pool of threads."""

    def __init__(self, base: str, images: ImageSet, data: str, *, threads: int) -> None:  # noqa: ARG002 - as all
        import fsspec
        import tifffile  # noqa: F401 - imported before time is taken

        self._files = fsspec.filesystem("http")
        self._folder = f"{base}/{data}"
        self._pool = ThreadPoolExecutor(threads)

    def read(self, read: Read) -> np.ndarray:
        """Read each tile that is touched, whole."""
        import tifffile

        out = np.empty(read.shape, np.uint16)

        def paste(part: Part) -> None:
            with self._files.open(f"{self._folder}/{stem(part.place)}.tiff") as file:
                out[part.dst] = tifffile.imread(file, maxworkers=1)[part.src]

        list(self._pool.map(paste, touched(read)))
        return out


class Aszarr:
    """``tifffile.imread(fsspec file, aszarr=True)`` of one multi-page TIFF for each r, c."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        import fsspec
        import tifffile  # noqa: F401 - imported before time is taken
        import zarr  # noqa: F401

        self._files = fsspec.filesystem("http")
        self._folder = f"{base}/{data}"
        self._arrays: dict[tuple[int, int], object] = {}

    def _array(self, r: int, c: int) -> object:
        import tifffile
        import zarr

        if (r, c) not in self._arrays:
            file = self._files.open(f"{self._folder}/r{r}_c{c}.tif")
            self._arrays[r, c] = zarr.open(tifffile.imread(file, aszarr=True), mode="r")
        return self._arrays[r, c]

    def read(self, read: Read) -> np.ndarray:
        """Read by slices, one file after another."""
        out = np.empty(read.shape, np.uint16)
        for a, r in enumerate(range(*read.r)):
            for b, c in enumerate(range(*read.c)):
                out[a, b] = self._array(r, c)[read.slices[2:]]
        return out


class AsyncTiff:
    """``TIFF.open`` and ``fetch_tiles`` of the same files over obstore, all at the same time."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        from async_tiff.store import HTTPStore

        self._store = HTTPStore.from_url(f"{base}/{data}", client_options={"allow_http": True})
        self._open: dict[tuple[int, int], object] = {}
        self._loop = asyncio.new_event_loop()

    async def _file(self, r: int, c: int) -> object:
        from async_tiff import TIFF

        if (r, c) not in self._open:
            self._open[r, c] = await TIFF.open(f"r{r}_c{c}.tif", store=self._store)
        return self._open[r, c]

    def read(self, read: Read) -> np.ndarray:
        """Read each tile that is touched, whole."""
        return self._loop.run_until_complete(self._read(read))

    async def _read(self, read: Read) -> np.ndarray:
        out = np.empty(read.shape, np.uint16)
        parts = touched(read)
        for r, c in sorted({part.place[:2] for part in parts}):
            await self._file(r, c)

        async def paste(part: Part) -> None:
            r, c, z, j, i = part.place
            tile = await self._open[r, c].fetch_tile(i, j, z)
            pixels = np.asarray(await tile.decode())
            out[part.dst] = pixels.reshape(TILE, TILE)[part.src]

        await asyncio.gather(*map(paste, parts))
        return out
