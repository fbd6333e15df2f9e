"""slicedfs, by its public functions."""

import numpy as np

from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.workloads import Read

__all__ = ["Slicedfs", "SlicedfsS3"]


class Slicedfs:
    """``slicedfs.open_dataarray(url).isel(…).load()``; concurrency None is the default."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int | None = None) -> None:  # noqa: ARG002
        import slicedfs

        self._url = f"{base}/{data}.json"
        self._options = {} if concurrency is None else {"concurrency": concurrency}
        self._array = slicedfs.open_dataarray(self._url, **self._options)

    def renew(self, turn: int) -> None:
        """Open the same under other URLs, not timed: slicedfs keeps tiles that it has just decoded, by their URLs."""
        import slicedfs

        self._array = slicedfs.open_dataarray(f"{self._url}?turn={turn}", **self._options)

    def read(self, read: Read) -> np.ndarray:
        """Read by isel."""
        return self._array.isel(read.isel).load().to_numpy()


class SlicedfsS3(Slicedfs):
    """The same over s3fs: nginx answers a GET of an object as S3 does, and asks for no signature."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        import slicedfs

        options = {"anon": True, "endpoint_url": base}
        self._array = slicedfs.open_dataarray(f"s3://bucket/{data}.json", storage_options=options)

    def renew(self, turn: int) -> None:
        """Do nothing: names in S3 have no query."""
