"""Documents to read, what they should read as, and how to compare. Nothing here uses the code under test."""

import copy
import json
import warnings
from typing import Any

import numpy as np

from slicedfs.errors import ManifestWarning
from slicedfs.manifest import parse
from slicedfs.model import CollectionDocument, Strings, Tiles, TileSetDocument

URL = "s3://bucket/fov.json"
DIGEST = "735c9967fa6b448498537d6164bb8efc04d1d30993f2e8d5cbdc0b3f8ce18f9a"


def tile(**changes: Any) -> dict[str, Any]:
    """Return a tile that has everything; a change to `...` takes the key away."""
    whole = {
        "coordinates": {"xc": [0.0, 0.1], "yc": [0.1, 0.2], "zc": 0.25},
        "indices": {"r": 1, "c": 2},
        "file": "fov-c2-r1.tiff",
        "sha256": DIGEST,
        "tile_shape": {"y": 100, "x": 60},
        "tile_format": "TIFF",
        "extras": {"exposure_ms": 20},
    }
    return _changed(whole, changes)


def tile_set(*tiles: Any, **changes: Any) -> dict[str, Any]:
    """Return a tile set of `tiles`, one whole tile if none is given; a change to `...` takes the key away."""
    whole = {
        "version": "0.1.0",
        "dimensions": ["c", "xc", "x", "r", "y", "zc", "yc"],
        "shape": {"r": 2, "c": 3},
        "tiles": list(tiles) or [tile()],
    }
    return _changed(whole, changes)


def collection(**changes: Any) -> dict[str, Any]:
    """Return a collection of two; a change to `...` takes the key away."""
    return _changed({"version": "0.1.0", "contents": {"fov_000": "a.json", "fov_001": "b/c.json"}}, changes)


def _changed(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy({key: value for key, value in {**whole, **changes}.items() if value is not ...})


def encode(document: object) -> bytes:
    """Return JSON in UTF-8, spaced as slicedimage's writer does."""
    return json.dumps(document).encode()


def read(document: object, url: str = URL) -> Any:
    """Parse a document that is given as a value."""
    return parse(encode(document), url)


def read_quietly(document: object) -> Any:
    """Parse a document of which oddities are expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ManifestWarning)
        return read(document)


def expected_tiles(document: dict[str, Any]) -> dict[str, Any]:
    """Return what the columns of a correct document are, from the values alone."""
    tiles = document["tiles"]
    dims = {**document["shape"], **{dim: None for t in tiles for dim in t["indices"]}}
    names = {name: None for t in tiles for name in t["coordinates"]}
    pairs = {name: [t["coordinates"].get(name, [np.nan, np.nan]) for t in tiles] for name in names}
    known = {"coordinates", "indices", "file", "sha256", "tile_shape", "tile_format", "extras"}
    return {
        "files": [t["file"] for t in tiles],
        "indices": {dim: [t["indices"].get(dim, 0) for t in tiles] for dim in dims if dim not in ("x", "y")},
        "coordinates": {
            name: [[float(v) for v in (p if isinstance(p, list) else [p, p])] for p in column]
            for name, column in pairs.items()
        },
        "shapes": [expected_shape(t.get("tile_shape")) for t in tiles],
        "formats": [t.get("tile_format") or None for t in tiles],
        "digests": [bytes.fromhex(t["sha256"]) if t.get("sha256") else None for t in tiles],
        "extras": {i: t["extras"] for i, t in enumerate(tiles) if t.get("extras") not in (None, {})},
        "unknown": {i: {k: t[k] for k in t if k not in known} for i, t in enumerate(tiles) if set(t) - known},
    }


def expected_shape(value: Any) -> dict[str, int] | None:
    """Return the shape that a list or an object of a document means."""
    if isinstance(value, list):
        return {"y": value[-2], "x": value[-1]} | ({"z": value[0]} if len(value) == 3 else {})
    return value


def said(tiles: Tiles) -> dict[str, Any]:
    """Return what the columns say, as plain values like those of `expected_tiles`."""
    count = len(tiles)
    assert all(column.shape == (count,) and column.dtype == np.int64 for column in tiles.indices.values())
    assert all(column.shape == (count, 2) and column.dtype == np.float64 for column in tiles.coordinates.values())
    for codes in (tiles.shape_codes, tiles.format_codes):
        assert codes is None or (codes.shape == (count,) and codes.dtype == np.int32)
    if tiles.sha256 is not None and tiles.has_sha256 is not None:
        assert tiles.sha256.shape == (count, 32)
        assert tiles.has_sha256.shape == (count,)
        assert not tiles.sha256[~tiles.has_sha256].any()
    return {
        "files": list(tiles.files),
        "indices": {dim: column.tolist() for dim, column in tiles.indices.items()},
        "coordinates": {name: column.tolist() for name, column in tiles.coordinates.items()},
        "shapes": [tiles.shape(i) for i in range(count)],
        "formats": [tiles.format(i) for i in range(count)],
        "digests": [tiles.digest(i) for i in range(count)],
        "extras": dict(tiles.extras),
        "unknown": dict(tiles.unknown),
    }


def assert_equal(left: Any, right: Any) -> None:
    """Fail unless two documents are equal in every field, the representation of columns included."""
    assert type(left) is type(right)
    if isinstance(left, CollectionDocument | TileSetDocument | Tiles):
        for name in left.__dataclass_fields__:
            assert_equal(getattr(left, name), getattr(right, name))
    elif isinstance(left, Strings):
        assert left.blob == right.blob
        np.testing.assert_array_equal(left.ends, right.ends)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            assert_equal(left[key], right[key])
    else:
        assert left == right
