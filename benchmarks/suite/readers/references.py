"""Virtual Zarr over the NPY tiles in place: kerchunk references and VirtualiZarr manifests."""

import json

import numpy as np

from benchmarks.suite.data import NPY_HEADER, stem
from benchmarks.suite.pixels import TILE, ImageSet
from benchmarks.suite.readers.zarrs import set_concurrency
from benchmarks.suite.workloads import Read

__all__ = ["KerchunkXarray", "KerchunkZarr", "Virtualizarr"]

_DIMS = ("r", "c", "z", "y", "x")
_BYTES = TILE * TILE * 2


def references(base: str, images: ImageSet) -> dict:
    """Give kerchunk's references, version 1: a Zarr v2 group with the array "image", each chunk a range of a tile."""
    array = {
        "zarr_format": 2,
        "shape": images.shape,
        "chunks": [1, 1, 1, TILE, TILE],
        "dtype": "<u2",
        "compressor": None,
        "filters": None,
        "fill_value": None,
        "order": "C",
    }
    chunks = {
        "image/" + ".".join(map(str, place)): [f"{base}/npy/{stem(place)}.npy", NPY_HEADER, _BYTES]
        for place in images.places()
    }
    head = {
        ".zgroup": {"zarr_format": 2},
        "image/.zarray": array,
        "image/.zattrs": {"_ARRAY_DIMENSIONS": _DIMS},
    }
    return {"version": 1, "refs": {name: json.dumps(value) for name, value in head.items()} | chunks}


class KerchunkXarray:
    """``xr.open_dataset(references, engine="kerchunk")``."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        import kerchunk  # noqa: F401 - the engine is its
        import xarray as xr

        self._array = xr.open_dataset(references(base, images), engine="kerchunk")["image"]

    def read(self, read: Read) -> np.ndarray:
        """Read by isel."""
        return self._array.isel(read.isel).load().to_numpy()


class KerchunkZarr:
    """zarr-python over an asynchronous reference filesystem."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int | None = None) -> None:  # noqa: ARG002
        import fsspec
        import kerchunk  # noqa: F401 - so that the row says whether it is there
        import zarr

        set_concurrency(concurrency)
        files = fsspec.filesystem(
            "reference",
            fo=references(base, images),
            remote_protocol="http",
            remote_options={"asynchronous": True},
            asynchronous=True,
        )
        store = zarr.storage.FsspecStore(files, read_only=True, path="")
        self._array = zarr.open_group(store, mode="r", zarr_format=2)["image"]

    def read(self, read: Read) -> np.ndarray:
        """Read by slices."""
        return np.asarray(self._array[read.slices])


class Virtualizarr:
    """A ManifestStore over obstore, opened by xarray."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int | None = None) -> None:  # noqa: ARG002
        import xarray as xr
        from obspec_utils.registry import ObjectStoreRegistry
        from obstore.store import HTTPStore
        from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
        from virtualizarr.manifests.utils import create_v3_array_metadata

        set_concurrency(concurrency)
        grid = (images.r, images.c, images.z, images.mosaic, images.mosaic)
        paths = np.array([f"{base}/npy/{stem(place)}.npy" for place in images.places()], np.dtypes.StringDType())
        manifest = ChunkManifest.from_arrays(
            paths=paths.reshape(grid),
            offsets=np.full(grid, NPY_HEADER, np.uint64),
            lengths=np.full(grid, _BYTES, np.uint64),
        )
        metadata = create_v3_array_metadata(
            shape=images.shape,
            chunk_shape=(1, 1, 1, TILE, TILE),
            data_type=np.dtype("<u2"),
            codecs=[{"name": "bytes", "configuration": {"endian": "little"}}],
            dimension_names=_DIMS,
        )
        group = ManifestGroup(arrays={"image": ManifestArray(metadata=metadata, chunkmanifest=manifest)})
        files = HTTPStore.from_url(base, client_options={"allow_http": True})
        store = ManifestStore(group, registry=ObjectStoreRegistry({base: files}))
        self._array = xr.open_zarr(store, consolidated=False, zarr_format=3, chunks=None)["image"]

    def read(self, read: Read) -> np.ndarray:
        """Read by isel."""
        return self._array.isel(read.isel).load().to_numpy()
