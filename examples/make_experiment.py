"""Make a SpaceTx experiment out of a real micrograph, with slicedimage 4.1.1 as the writer.

    python examples/make_experiment.py DIRECTORY

The picture is scikit-image's ``immunohistochemistry``: glands of a colon, stained, 512 x 512 pixels in red, green and
blue; it ships inside the wheel, so nothing is downloaded. It is cut into fields of view that touch, as a microscope
scans a slide:

* ``primary``: 2 x 2 fields of view of 256 x 256 pixels, uint16, 3 rounds (r), 3 channels (c), 3 planes (z): 108 tiles.
  A channel is the absorbance of one colour, 257 * (255 - value). Round r has bleached to (10 - 2 r) / 10 of that.
  Plane 1 is in focus; planes 0 and 2 are means of 5 x 5 pixels.
* ``nuclei``: the same fields, uint8, one tile each: the absorbance of red light, which haematoxylin in nuclei takes up.

Coordinates are in micrometres: a pixel is 0.5 um wide, planes are 2 um apart, and ranges span the outer edges of
pixels. All arithmetic is on integers, so that the files are the same on every machine and in every run.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import slicedimage  # type: ignore[import-untyped]
from numpy.typing import NDArray

__all__ = ["make_experiment", "micrograph"]

ROUNDS = CHANNELS = PLANES = 3
FIELD_PX = 256
PIXEL_UM = 0.5
PLANE_UM = 2.0


def micrograph() -> NDArray[np.uint16]:
    """Give the whole slide that `make_experiment` cuts up: (r, c, z, y, x) = (3, 3, 3, 512, 512)."""
    in_focus = _absorbance().astype(np.uint16) * 257
    planes = np.stack([_blur(in_focus), in_focus, _blur(in_focus)], axis=1)
    return np.stack([(planes.astype(np.uint32) * (10 - 2 * r) // 10).astype(np.uint16) for r in range(ROUNDS)])


def make_experiment(directory: Path) -> Path:
    """Write the experiment into `directory`, which is made; return its ``experiment.json``.

    Parameters
    ----------
    directory
        Gets ``experiment.json``, ``codebook.json``, two collections, eight tile sets and 112 TIFF tiles (14 MB).
    """
    directory.mkdir(parents=True, exist_ok=True)
    images: dict[str, NDArray[Any]] = {"primary": micrograph(), "nuclei": _absorbance()[None, :1, None]}
    for name, slide in images.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # slicedimage and its writers use interfaces that are going away
            slicedimage.Writer.write_to_path(
                _fields(slide),
                (directory / f"{name}.json").absolute(),
                pretty=True,
                tile_format=slicedimage.ImageFormat.TIFF,
            )
    _dump(directory / "codebook.json", _codebook())
    documents = {name: f"{name}.json" for name in images}
    experiment = {"version": "5.0.0", "images": documents, "codebook": "codebook.json", "extras": {}}
    return _dump(directory / "experiment.json", experiment)


def _absorbance() -> NDArray[np.uint8]:
    """Give 255 minus the picture, as (c, y, x) = (3, 512, 512)."""
    from skimage.data import immunohistochemistry

    picture: NDArray[np.uint8] = immunohistochemistry()  # type: ignore[no-untyped-call]
    return np.moveaxis(255 - picture, -1, 0)


def _blur(channels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Give the means of 5 x 5 pixels of (c, y, x), rounded down; the border is repeated outwards."""
    padded = np.pad(channels.astype(np.uint32), ((0, 0), (2, 2), (2, 2)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    means: NDArray[np.uint32] = windows.sum(axis=(-2, -1), dtype=np.uint32) // 25
    return means.astype(np.uint16)


def _fields(slide: NDArray[Any]) -> Any:
    """Cut (r, c, z, y, x) into a collection of fields of view, fov_000 at the upper left, row by row."""
    collection = slicedimage.Collection()
    for row in range(slide.shape[3] // FIELD_PX):
        for column in range(slide.shape[4] // FIELD_PX):
            name = f"fov_{len(collection._partitions):03d}"
            collection.add_partition(name, _field(slide, row * FIELD_PX, column * FIELD_PX))
    return collection


def _field(slide: NDArray[Any], top: int, left: int) -> Any:
    """Cut one field of view, whose first pixel is (top, left), out of (r, c, z, y, x)."""
    rounds, channels, planes = slide.shape[:3]
    shape = {"r": rounds, "c": channels, "z": planes}
    tile_set = slicedimage.TileSet({"r", "c", "z", "y", "x", "zc", "yc", "xc"}, shape)
    # slicedimage writes `dimensions` in the order of a set, which differs from run to run.
    tile_set.dimensions = sorted(tile_set.dimensions)
    extent_um = {"yc": _range_um(top), "xc": _range_um(left)}
    for r, c, z in np.ndindex(rounds, channels, planes):
        coordinates = extent_um | {"zc": (z * PLANE_UM, (z + 1) * PLANE_UM)}
        tile = slicedimage.Tile(coordinates, {"r": r, "c": c, "z": z})
        tile.numpy_array = slide[r, c, z, top : top + FIELD_PX, left : left + FIELD_PX]
        tile_set.add_tile(tile)
    return tile_set


def _range_um(first_px: int) -> tuple[float, float]:
    return first_px * PIXEL_UM, (first_px + FIELD_PX) * PIXEL_UM


def _codebook() -> dict[str, Any]:
    """Give a codebook of three made-up genes, each of which shows in one channel per round."""
    words = {"GENE_A": (0, 1, 2), "GENE_B": (1, 2, 0), "GENE_C": (2, 0, 1)}
    mappings = [
        {"codeword": [{"r": r, "c": c, "v": 1.0} for r, c in enumerate(word)], "target": gene}
        for gene, word in words.items()
    ]
    return {"version": "0.0.0", "mappings": mappings}


def _dump(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    print(make_experiment(Path(sys.argv[1])))
