"""Image sets of a few tiles, written by hand into a recording filesystem: plain JSON and NPY, nothing of slicedfs."""

import io
import json
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from slicedfs.testing import RecordingFileSystem

__all__ = ["Bench", "npy", "plane", "tile", "tile_set"]


def npy(array: NDArray[Any]) -> bytes:
    """Give `array` as the bytes of an NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def plane(number: int, shape: tuple[int, ...] = (2, 3), dtype: str = "uint16") -> NDArray[Any]:
    """Give the pixels of tile `number`: 100 * number + 1, + 2, … in the order of the file."""
    return (100 * number + 1 + np.arange(np.prod(shape))).reshape(shape).astype(dtype)


def tile(file: str, coordinates: dict[str, Any] | None = None, /, **indices: int) -> dict[str, Any]:
    """Give the entry of a tile, ``tile("a.npy", {"x": [0, 3]}, r=0, c=1)``."""
    return {"file": file, "coordinates": coordinates or {}, "indices": indices}


def tile_set(tiles: list[dict[str, Any]], shape: dict[str, int], **more: Any) -> dict[str, Any]:
    """Give the document of a tile set."""
    return {"version": "0.1.0", "dimensions": [*shape, "y", "x"], "shape": shape, "tiles": tiles, **more}


class Bench:
    """Files in memory under a name of their own, and what was read of them."""

    def __init__(self, name: str) -> None:
        self.fs = RecordingFileSystem(name=name)
        self.options = {"name": name}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fs.reset()

    @staticmethod
    def url(path: str = "set.json") -> str:
        """Give the URL of a file."""
        return f"recording://b/{path}"

    def put(self, **files: Any) -> None:
        """Write files: ``set=`` a document becomes set.json, ``t0=`` an array t0.npy."""
        for name, content in files.items():
            if isinstance(content, np.ndarray):
                self.fs.files[f"b/{name}.npy"] = npy(content)
            else:
                self.fs.files[f"b/{name}.json"] = json.dumps(content).encode()

    def put_set(self, tiles: list[dict[str, Any]], shape: dict[str, int], **more: Any) -> None:
        """Write set.json, and the pixels ``plane(i)`` of the tile i where its file is not there yet."""
        self.put(set=tile_set(tiles, shape, **more))
        for number, entry in enumerate(tiles):
            self.fs.files.setdefault(f"b/{entry['file']}", npy(plane(number)))

    def open(self, path: str = "set.json", **options: Any) -> xr.DataArray:
        """Open a tile set as the variable "image", and forget the requests that this took."""
        image = self.dataset(path, **options)["image"]
        self.fs.clear()
        return image

    def dataset(self, path: str = "set.json", **options: Any) -> xr.Dataset:
        """Open a tile set as a Dataset."""
        return xr.open_dataset(self.url(path), engine="slicedfs", storage_options=self.options, **options)

    @property
    def read(self) -> list[str]:
        """Names of the files that were read, in order, without the directory."""
        return [path.removeprefix("b/") for path in self.fs.paths]
