"""Which kind of document it is, and whether its version can be read. A wrong document is told what it is."""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from slicedfs.errors import ManifestError
from slicedfs.manifest.checks import ABSENT, Place

__all__ = ["EXPERIMENT_IMAGES", "Kind", "kind_of", "version_of"]

EXPERIMENT_IMAGES = ("images", "primary_images", "hybridization_images", "auxiliary_images")
"""The keys under which SpaceTx experiments list their images, newest first."""

_VERSION = re.compile(
    r"v?(?P<release>[0-9]{1,9}(?:\.[0-9]{1,9})*)"
    r"(?P<pre>(?:[-._]?(?:a|b|c|rc|alpha|beta|pre|preview|dev)[-._]?[0-9]*)+)?"
    r"(?:\.?post[0-9]*|\+[A-Za-z0-9.]+)?",
    re.IGNORECASE,
)
_READABLE = {
    "document": "0.0.x, 0.1.x and 1.0.0",
    "experiment": "0.0.0, 1.0.0, 4.x and 5.x",
}
_COORDINATES = frozenset(("x", "y", "z", "xc", "yc", "zc"))
_MISSING_KIND = (
    "has none of `contents` (a collection), `tiles` (a tile set), `images`, `primary_images` and"
    " `hybridization_images` (a SpaceTx experiment)"
)


class Kind(Enum):
    """What a document is."""

    COLLECTION = "collection"
    TILE_SET = "tile set"
    EXPERIMENT = "experiment"


def kind_of(value: object, place: Place) -> tuple[Kind, dict[str, Any]]:
    """Return the kind of a document, and the document.

    ``contents`` wins over ``tiles`` as in slicedimage 4.1.1 (``io/_v0_1_0.py``); both win over an experiment's keys.
    """
    if not isinstance(value, dict):
        raise _not_an_object(value, place)
    if "contents" in value:
        if "tiles" in value:
            place.note("both", "has both `contents` and `tiles`; it is read as a collection, without the tiles.")
        return Kind.COLLECTION, value
    if "tiles" in value:
        return Kind.TILE_SET, value
    if any(key in value for key in EXPERIMENT_IMAGES[:3]):
        return Kind.EXPERIMENT, value
    raise _not_a_document(value, place)


def version_of(document: Mapping[str, Any], kind: Kind, place: Place) -> str:
    """Return the document's version as written, if it can be read.

    A pre-release ("0.1.0-dev") is read like its release and, as in slicedimage, like what came before it, so that
    "0.2.0-dev" can be read.
    """
    version = document.get("version", ABSENT)
    readable = _READABLE["experiment" if kind is Kind.EXPERIMENT else "document"]
    if version is ABSENT:
        raise place.error("version", f"is missing: it must be a string; {readable} can be read")
    if not isinstance(version, str):
        raise place.error("version", 'must be a string such as "0.1.0"', version)
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        raise place.error("version", f"is not a version; {readable} can be read", version)
    release = (*map(int, match["release"].split(".")), 0, 0)[:3]
    if not _can_read(release, kind, is_before=match["pre"] is not None):
        raise place.error("version", f"of this {kind.value} cannot be read; {readable} can", version)
    return version


def _can_read(release: tuple[int, ...], kind: Kind, *, is_before: bool) -> bool:
    if kind is Kind.EXPERIMENT:
        return release in ((0, 0, 0), (1, 0, 0)) or release[0] in (4, 5)
    return release[:2] in ((0, 0), (0, 1)) or release == (1, 0, 0) or (release == (0, 2, 0) and is_before)


def _not_an_object(value: object, place: Place) -> ManifestError:
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if "codeword" in value[0]:
            return place.error("", f"is a codebook, not images. {_OPEN_EXPERIMENT}")
        if "tiles" in value[0] or "contents" in value[0]:
            return place.error("", "is a list of documents; each must lie in a file of its own")
    name = {list: "list", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")
    return place.error("", f"must be a JSON object (a collection, a tile set or an experiment), not a {name}")


_OPEN_EXPERIMENT = "Open the experiment.json beside it, or a collection or tile set"
_OPEN_SLICEDIMAGE = "slicedfs opens slicedimage and SpaceTx documents"

_WRONG: tuple[tuple[Callable[[Mapping[str, Any]], bool], str], ...] = (
    (lambda d: "mappings" in d or "codewords" in d, f"is a codebook, not images. {_OPEN_EXPERIMENT}"),
    (
        lambda d: "tocs" in d,
        "is a document of early 2018 with `tocs`, which slicedimage replaced by `contents`. Rename the key to"
        " `contents` (an object of names and references)",
    ),
    (
        lambda d: "auxiliary_images" in d,
        "is a SpaceTx experiment without images: `images` or `primary_images` is missing",
    ),
    (
        lambda d: "file" in d and "indices" in d,
        "is one tile, not a tile set. Put it into the list `tiles` of a tile set",
    ),
    (
        lambda d: bool(d) and all(key in _COORDINATES and isinstance(d[key], int | float | list) for key in d),
        "holds the coordinates of one tile, not a document. Open the tile set that they belong to",
    ),
    (
        lambda d: any(key in d for key in ("multiscales", "omero", "zarr_format", "ome", "plate", "well")),
        f"is metadata of OME-Zarr or Zarr; {_OPEN_SLICEDIMAGE}. Open it with xarray.open_zarr or ome-zarr",
    ),
    (
        lambda d: "scales" in d or str(d.get("@type", "")).startswith("neuroglancer"),
        f"is the `info` file of a neuroglancer volume; {_OPEN_SLICEDIMAGE}. Open it with tensorstore or cloud-volume",
    ),
    (
        lambda d: "refs" in d or ".zgroup" in d,
        f'is a kerchunk reference file; {_OPEN_SLICEDIMAGE}. Open it with xarray.open_dataset(engine="kerchunk")',
    ),
    (
        lambda d: isinstance(d.get("0"), dict) and "Resolution" in d["0"],
        "is a tile specification of DVID. Pass it to slicedfs.build_zoom as `spec`",
    ),
)


def _not_a_document(document: Mapping[str, Any], place: Place) -> ManifestError:
    wrong = next((text for holds, text in _WRONG if holds(document)), None)
    return place.error("", _MISSING_KIND if wrong is None else f"{wrong}. It {_MISSING_KIND}")
