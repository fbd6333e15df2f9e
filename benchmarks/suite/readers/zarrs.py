"""zarr-python 3, over fsspec and over obstore. Concurrency None is zarr's default (10)."""

import numpy as np

from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.workloads import Read

__all__ = ["Fsspec", "Obstore", "set_concurrency"]


def set_concurrency(concurrency: int | None) -> None:
    """Set zarr's own bound, where one is wanted."""
    import zarr

    if concurrency is not None:
        zarr.config.set({"async.concurrency": concurrency})


class Fsspec:
    """``zarr.open_array(FsspecStore)``."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int | None = None) -> None:  # noqa: ARG002
        import zarr

        set_concurrency(concurrency)
        self._array = zarr.open_array(zarr.storage.FsspecStore.from_url(f"{base}/{data}", read_only=True), mode="r")

    def read(self, read: Read) -> np.ndarray:
        """Read by slices."""
        return np.asarray(self._array[read.slices])


class Obstore(Fsspec):
    """``zarr.open_array(ObjectStore)``."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int | None = None) -> None:  # noqa: ARG002
        import zarr
        from obstore.store import HTTPStore

        set_concurrency(concurrency)
        files = HTTPStore.from_url(f"{base}/{data}", client_options={"allow_http": True})
        self._array = zarr.open_array(zarr.storage.ObjectStore(files, read_only=True), mode="r")
