"""tensorstore and cloud-volume."""

import numpy as np

from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.workloads import Read

__all__ = ["Cloudvolume", "Tensorstore"]


class Tensorstore:
    """``tensorstore.open``; concurrency None is its default (32). Nothing is cached, which is its default, too.

    A neuroglancer volume holds (x, y, z, channel): there is one for each r, c, opened when first needed, and all parts
    of a read are asked for before any is waited for.
    """

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int | None = None) -> None:
        import tensorstore

        limit = {} if concurrency is None else {"http_request_concurrency": {"limit": concurrency}}
        self._context = tensorstore.Context(limit)
        self._base, self._images = base, images
        self._volumes: dict[tuple[int, int], object] = {}
        self._array = None if data == "precomputed" else self._open("zarr3", data)

    def _open(self, driver: str, path: str) -> object:
        import tensorstore

        store = {"driver": "http", "base_url": self._base, "path": f"/{path}/"}
        spec = {"driver": driver, "kvstore": store, "recheck_cached_metadata": "open"}
        return tensorstore.open(spec, context=self._context, read=True).result()

    def _volume(self, r: int, c: int) -> object:
        if (r, c) not in self._volumes:
            self._volumes[r, c] = self._open("neuroglancer_precomputed", f"precomputed/r{r}_c{c}")
        return self._volumes[r, c]

    def read(self, read: Read) -> np.ndarray:
        """Read by slices."""
        if self._array is not None:
            return self._array[read.slices].read().result()
        out = np.empty(read.shape, np.uint16)
        inside = tuple(reversed(read.slices[2:]))
        waiting = [
            (a, b, self._volume(r, c)[(*inside, 0)].read())
            for a, r in enumerate(range(*read.r))
            for b, c in enumerate(range(*read.c))
        ]
        for a, b, future in waiting:
            out[a, b] = future.result().T
        return out


class Cloudvolume:
    """``CloudVolume(url)[x, y, z]``, one volume for each r, c, one after another: its own threads read the chunks."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        import cloudvolume  # noqa: F401 - imported before time is taken

        self._base = base
        self._volumes: dict[tuple[int, int], object] = {}

    def _volume(self, r: int, c: int) -> object:
        from cloudvolume import CloudVolume

        if (r, c) not in self._volumes:
            url = f"precomputed://{self._base}/precomputed/r{r}_c{c}"
            self._volumes[r, c] = CloudVolume(url, progress=False, use_https=False)
        return self._volumes[r, c]

    def read(self, read: Read) -> np.ndarray:
        """Read by slices."""
        out = np.empty(read.shape, np.uint16)
        inside = tuple(reversed(read.slices[2:]))
        for a, r in enumerate(range(*read.r)):
            for b, c in enumerate(range(*read.c)):
                out[a, b] = np.asarray(self._volume(r, c)[inside])[..., 0].T
        return out
