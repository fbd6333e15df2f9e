"""The image set on disk in every format, written once: ``build(folder, images, formats)``."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from benchmarks.suite.pixels import TILE, ImageSet, Place, tile

__all__ = ["BUCKET", "DOCUMENTS", "NPY_HEADER", "WIDTH", "build", "stem"]

NPY_HEADER = 128
"""Bytes before the pixels in what numpy.save writes."""
BUCKET = "bucket"
"""The folder under another name, so that paths look like those of S3."""
WIDTH = 0.5
"""Width of a pixel in the documents' units."""
DOCUMENTS = {"npy": "NUMPY", "npy-sha256": "NUMPY", "tiff": "TIFF", "tiffdef": "TIFF", "png": "PNG"}
"""Documents -> tile format. "npy-sha256" refers to the same files, and states their checksums."""
_EXTENSIONS = {"npy": "npy", "npy-sha256": "npy", "tiff": "tiff", "tiffdef": "tiff", "png": "png"}


def stem(place: Place) -> str:
    """Give a tile's name without extension, in the same folder for all."""
    return "t-r{}-c{}-z{}-y{}-x{}".format(*place)


def build(folder: Path, images: ImageSet, formats: Iterable[str], say: Callable[[str], None] = lambda _: None) -> None:
    """Write each of `formats` below `folder`, unless it is there.

    Formats: the documents of DOCUMENTS, "zarr_raw", "zarr_shard", "precomputed", "mtiff".

    Raises
    ------
    ImportError
        If a format needs a library that is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.json").write_text(json.dumps(images.shape))
    if not (folder / BUCKET).exists():
        (folder / BUCKET).symlink_to(".")
    for name in formats:
        done = folder / f".{name}.done"
        if done.exists():
            continue
        say(f"writing {name}")
        for needed in _NEEDS.get(name, ()):
            build(folder, images, [needed], say)
        _WRITERS[name](folder, images)
        done.touch()


def _each(images: ImageSet, write: Callable[[Place], object]) -> list[object]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(write, images.places()))


def _write_tiles(folder: Path, images: ImageSet, *, name: str, encode: Callable[[np.ndarray], bytes]) -> None:
    below = folder / name
    below.mkdir(exist_ok=True)

    def write(place: Place) -> None:
        (below / f"{stem(place)}.{_EXTENSIONS[name]}").write_bytes(encode(tile(place)))

    _each(images, write)
    _write_document(folder, images, name=name, below=name)


def _write_document(folder: Path, images: ImageSet, *, name: str, below: str, checksums: bool = False) -> None:
    def entry(place: Place) -> dict:
        r, c, z, j, i = place
        file = f"{below}/{stem(place)}.{_EXTENSIONS[name]}"
        described = {
            "coordinates": {
                "xc": [i * TILE * WIDTH, (i + 1) * TILE * WIDTH],
                "yc": [j * TILE * WIDTH, (j + 1) * TILE * WIDTH],
                "zc": [float(z), float(z + 1)],
            },
            "indices": {"r": r, "c": c, "z": z},
            "file": file,
            "tile_shape": {"y": TILE, "x": TILE},
            "tile_format": DOCUMENTS[name],
        }
        if checksums:
            described["sha256"] = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        return described

    document = {
        "version": "0.1.0",
        "dimensions": ["r", "c", "z", "y", "x"],
        "shape": {"r": images.r, "c": images.c, "z": images.z},
        "default_tile_shape": {"y": TILE, "x": TILE},
        "tiles": _each(images, entry),
        "extras": {},
    }
    (folder / f"{name}.json").write_text(json.dumps(document))


def _npy(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, pixels)
    return file.getvalue()


def _tiff(pixels: np.ndarray, **options: object) -> bytes:
    import tifffile

    file = BytesIO()
    tifffile.imwrite(file, pixels, metadata=None, **options)
    return file.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    import imagecodecs

    return imagecodecs.png_encode(pixels, level=1)


def _write_zarr_raw(folder: Path, images: ImageSet) -> None:
    """Write one chunk a tile, no compressor: the metadata as the Zarr v3 specification has it, the chunks by hand."""
    root = folder / "zarr_raw"

    def write(place: Place) -> None:
        chunk = root.joinpath("c", *map(str, place))
        chunk.parent.mkdir(parents=True, exist_ok=True)
        chunk.write_bytes(tile(place).tobytes())

    _each(images, write)
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": images.shape,
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1, 1, TILE, TILE]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
        "dimension_names": ["r", "c", "z", "y", "x"],
    }
    (root / "zarr.json").write_text(json.dumps(metadata))


def _write_zarr_shard(folder: Path, images: ImageSet) -> None:
    """Write shards of all z and 2 x 2 tiles, by zarr-python."""
    import zarr

    shard = (1, 1, images.z, 2 * TILE, 2 * TILE)
    array = zarr.create_array(
        str(folder / "zarr_shard"),
        shape=images.shape,
        dtype="uint16",
        chunks=(1, 1, 1, TILE, TILE),
        shards=shard,
        compressors=None,
        overwrite=True,
    )
    for r, c in images.planes():
        array[r, c] = _stack(images, r, c)


def _stack(images: ImageSet, r: int, c: int) -> np.ndarray:
    """Give the pixels of one r, c as (z, y, x)."""
    stack = np.empty(images.shape[2:], np.uint16)
    for place in images.places():
        if place[:2] == (r, c):
            _, _, z, j, i = place
            stack[z, j * TILE : (j + 1) * TILE, i * TILE : (i + 1) * TILE] = tile(place)
    return stack


def _write_precomputed(folder: Path, images: ImageSet) -> None:
    """Write a volume for each r, c. A raw chunk of one plane has the bytes of the Zarr chunk: it is a link to that."""
    scale = {
        "key": "s0",
        "size": [images.side, images.side, images.z],
        "resolution": [1, 1, 1],
        "voxel_offset": [0, 0, 0],
        "chunk_sizes": [[TILE, TILE, 1]],
        "encoding": "raw",
    }
    info = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "image",
        "data_type": "uint16",
        "num_channels": 1,
        "scales": [scale],
    }
    for r, c in images.planes():
        below = folder / "precomputed" / f"r{r}_c{c}" / "s0"
        below.mkdir(parents=True, exist_ok=True)
        (below.parent / "info").write_text(json.dumps(info))
    for r, c, z, j, i in images.places():
        x, y = i * TILE, j * TILE
        link = folder / "precomputed" / f"r{r}_c{c}" / "s0" / f"{x}-{x + TILE}_{y}-{y + TILE}_{z}-{z + 1}"
        link.unlink(missing_ok=True)
        link.hardlink_to(folder.joinpath("zarr_raw", "c", *map(str, (r, c, z, j, i))))


def _write_mtiff(folder: Path, images: ImageSet) -> None:
    """Write a multi-page TIFF for each r, c: a page for each z, in raw tiles."""
    import tifffile

    below = folder / "mtiff"
    below.mkdir(exist_ok=True)
    for r, c in images.planes():
        tifffile.imwrite(below / f"r{r}_c{c}.tif", _stack(images, r, c), tile=(TILE, TILE), photometric="minisblack")


_NEEDS = {"npy-sha256": ("npy",), "precomputed": ("zarr_raw",)}
_WRITERS: dict[str, Callable[[Path, ImageSet], None]] = {
    "npy": partial(_write_tiles, name="npy", encode=_npy),
    "npy-sha256": partial(_write_document, name="npy-sha256", below="npy", checksums=True),
    "tiff": partial(_write_tiles, name="tiff", encode=_tiff),
    "tiffdef": partial(_write_tiles, name="tiffdef", encode=partial(_tiff, compression="zlib", predictor=True)),
    "png": partial(_write_tiles, name="png", encode=_png),
    "zarr_raw": _write_zarr_raw,
    "zarr_shard": _write_zarr_shard,
    "precomputed": _write_precomputed,
    "mtiff": _write_mtiff,
}
