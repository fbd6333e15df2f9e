"""The image set of the conformance lines, in a recording filesystem, and the same as a loaded DataArray."""

import io
import json

import numpy as np
import xarray as xr

from slicedfs.testing import RecordingFileSystem

SHAPE = (2, 3, 4, 64, 96)
TILE = (32, 48)
MISSING = (1, 2, 3, 1, 1)
"""(r, c, z, tile row, tile column) that has no tile."""
X0, Y0, STEP = 100.0, -50.0, 0.65
NAME = "conformance"
URL = "recording://set/manifest.json"
OPTIONS = {"name": NAME}

pixels = (np.arange(np.prod(SHAPE)) % 60000 + 1).astype("<u2").reshape(SHAPE)
pixels[1, 2, 3, 32:, 48:] = 0


def npy(array):
    """Return `array` as the bytes of an NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def fill(fs):
    """Put the set, and a tree of two sets, into `fs`."""
    whole = document(range(3))
    fs.files["set/manifest.json"] = json.dumps(whole).encode()
    fs.files["set/dapi.json"] = json.dumps(document(range(1))).encode()
    fs.files["set/tree.json"] = json.dumps(
        {"version": "0.1.0", "contents": {"fov_000": "fov.json"}, "extras": {"made": "for tests"}}
    ).encode()
    fs.files["set/fov.json"] = json.dumps(
        {"version": "0.1.0", "contents": {"primary": "manifest.json", "dapi": "dapi.json"}}
    ).encode()
    for r, c, z, row, column in np.ndindex(2, 3, 4, 2, 2):
        if (r, c, z, row, column) != MISSING:
            part = pixels[r, c, z, row * 32 : row * 32 + 32, column * 48 : column * 48 + 48]
            fs.files[f"set/{r}{c}{z}{row}{column}.npy"] = npy(part)


def document(channels):
    """Return the document of the tiles of `channels`."""
    return {
        "version": "0.1.0",
        "dimensions": ["x", "r", "z", "y", "c"],
        "shape": {"r": 2, "c": len(channels), "z": 4},
        "default_tile_shape": {"y": 32, "x": 48},
        "default_tile_format": "NUMPY",
        "extras": {"long_name": "intensity", "slicedfs": {"units": {"x": "um", "y": "um"}}},
        "tiles": [
            {
                "file": f"{r}{c}{z}{row}{column}.npy",
                "indices": {"r": r, "c": c, "z": z},
                "coordinates": {
                    "x": [X0 + column * 48 * STEP, X0 + (column + 1) * 48 * STEP],
                    "y": [Y0 + row * 32 * STEP, Y0 + (row + 1) * 32 * STEP],
                    "z": z * 0.5,
                },
            }
            for r, c, z, row, column in np.ndindex(2, len(channels), 4, 2, 2)
            if (r, c, z, row, column) != MISSING
        ],
    }


ref = xr.DataArray(
    pixels,
    dims=("r", "c", "z", "y", "x"),
    name="image",
    coords={
        "r": np.arange(2),
        "c": np.arange(3),
        "z": np.arange(4),
        "y": np.round(Y0 + (np.arange(64) + 0.5) * STEP, 7),
        "x": np.round(X0 + (np.arange(96) + 0.5) * STEP, 7),
    },
)


def filesystem():
    """Return the recording filesystem, filled."""
    fs = RecordingFileSystem(name=NAME)
    if not fs.files:
        fill(fs)
    return fs


def tile_reads(fs):
    """Return the tiles that were read whole since the log was cleared."""
    return [access.path for access in fs.log if access.path.endswith(".npy") and access.end is None]
