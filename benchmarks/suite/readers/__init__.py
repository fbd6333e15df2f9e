"""The readers that are compared, by name: ``READERS["slicedfs"].load()(base_url, images, format)``.

A reader opens its data when it is made and gives ``read(Read) -> (r, c, z, y, x) uint16``; nothing else is timed. Its
module is imported in a process of its own, and what the module imports must be installed, or the row says so.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

import numpy as np

from benchmarks.suite.workloads import Read

__all__ = ["READERS", "Reader", "Spec"]


class Reader(Protocol):
    """What the worker needs."""

    def read(self, read: Read) -> np.ndarray:
        """Give the pixels of `read`, in the order r, c, z, y, x."""
        ...


@dataclass(frozen=True, slots=True)
class Spec:
    """One row of the tables, for each of its formats."""

    module: str
    """Below benchmarks.suite.readers."""
    factory: str
    """Called with (base URL, ImageSet, format) and `options`."""
    formats: tuple[str, ...]
    kind: str
    """"ours", "peer", "ceiling", or "s3": compared among each other, over the same server as S3."""
    default: bool = False
    """True for the settings that a user gets who sets none."""
    options: tuple[tuple[str, object], ...] = ()
    quick: bool = True
    """False: left out by --quick."""

    @property
    def settings(self) -> dict[str, object]:
        """Arguments of the factory."""
        return dict(self.options)

    def open(self, base: str, images: object, data: str) -> Reader:
        """Make the reader; the caller times this."""
        factory = getattr(import_module(f"benchmarks.suite.readers.{self.module}"), self.factory)
        return factory(base, images, data, **self.settings)


def _n(count: int) -> tuple[tuple[str, object], ...]:
    return (("concurrency", count),)


_TILES = ("npy", "tiff", "tiffdef", "png")

READERS: dict[str, Spec] = {
    "raw-sockets": Spec("sockets", "Whole", ("npy", "tiffdef", "png"), "ceiling", options=_n(64)),
    "raw-sockets-part": Spec("sockets", "Part", ("npy",), "ceiling", options=_n(64)),
    "raw-sockets-256": Spec("sockets", "Whole", ("npy",), "ceiling", options=_n(256), quick=False),
    "raw-sockets-256-part": Spec("sockets", "Part", ("npy",), "ceiling", options=_n(256)),
    "raw-aiohttp": Spec("bare", "Aiohttp", ("npy",), "ceiling", options=_n(64)),
    "raw-obstore": Spec("bare", "Obstore", ("npy",), "ceiling", options=_n(64)),
    "decode-only": Spec("decode", "Decode", ("png", "tiffdef"), "ceiling"),
    "slicedfs": Spec("ours", "Slicedfs", (*_TILES, "npy-sha256"), "ours", default=True),
    "slicedfs-64": Spec("ours", "Slicedfs", _TILES[:2], "ours", options=_n(64)),
    "slicedfs-256": Spec("ours", "Slicedfs", ("npy",), "ours", options=_n(256), quick=False),
    "slicedfs-s3": Spec("ours", "SlicedfsS3", ("npy",), "s3"),
    "s3fs": Spec("bare", "S3fs", ("npy",), "s3", options=(*_n(10), ("heads", True))),
    "s3fs-64": Spec("bare", "S3fs", ("npy",), "s3", options=(*_n(64), ("heads", False)), quick=False),
    "tensorstore": Spec("volumes", "Tensorstore", ("zarr_raw",), "peer", default=True),
    "tensorstore-64": Spec(
        "volumes", "Tensorstore", ("zarr_raw", "zarr_shard", "precomputed"), "peer", options=_n(64), quick=False
    ),
    "cloudvolume": Spec("volumes", "Cloudvolume", ("precomputed",), "peer", default=True),
    "zarr-fsspec": Spec("zarrs", "Fsspec", ("zarr_raw",), "peer", default=True),
    "zarr-fsspec-64": Spec("zarrs", "Fsspec", ("zarr_raw",), "peer", options=_n(64), quick=False),
    "zarr-obstore": Spec("zarrs", "Obstore", ("zarr_raw",), "peer", default=True),
    "zarr-obstore-64": Spec("zarrs", "Obstore", ("zarr_raw",), "peer", options=_n(64), quick=False),
    "kerchunk-xarray": Spec("references", "KerchunkXarray", ("npy",), "peer", default=True),
    "kerchunk-zarr-64": Spec("references", "KerchunkZarr", ("npy",), "peer", options=_n(64), quick=False),
    "virtualizarr": Spec("references", "Virtualizarr", ("npy",), "peer", default=True),
    "virtualizarr-64": Spec("references", "Virtualizarr", ("npy",), "peer", options=_n(64), quick=False),
    "slicedimage": Spec("tilesets", "Slicedimage", ("npy",), "peer", default=True, options=(("threads", 1),)),
    "slicedimage-tp64": Spec(
        "tilesets", "Slicedimage", ("npy", "png"), "peer", options=(("threads", 64),), quick=False
    ),
    "dask-delayed": Spec("tilesets", "DaskDelayed", ("npy",), "peer", default=True),
    "tifffile-imread-tp64": Spec("tiffs", "Imread", ("tiff",), "peer", options=(("threads", 64),), quick=False),
    "tifffile-aszarr": Spec("tiffs", "Aszarr", ("mtiff",), "peer", default=True),
    "async-tiff": Spec("tiffs", "AsyncTiff", ("mtiff",), "peer", default=True, quick=False),
}
