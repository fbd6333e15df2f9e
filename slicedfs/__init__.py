"""Tiled image sets in buckets (slicedimage / SpaceTx manifests) as lazy xarray arrays.

A map of the package; imports point down, and a test keeps it so::

    cli                one function a command
    indexing           writes the packed index of a tile set
    xarray_backend     engine "slicedfs" of xarray
    opening            URL -> node, DataArray, Dataset, groups
    node               Collection and TileSet, as slicedfs.open gives them
    dataset            an opened tile set as an xarray Dataset
    show               what people get to see: plans, traces, bars, cards, tables, thumbnails
    lazy               SlicedArray as the data of an xarray Variable
    array              SlicedArray: shape, dtype, selections; the doors to the pixels
    read               one read: which bytes of which tiles -> ndarray
    source             an opened tile set: document, placement, dtype; reopens in other processes
    resolver           follows documents from URL to URL
    manifest codecs store    dict <-> model; bytes <-> pixels; THE ONLY I/O
    policy options     which URL may lead where; how an array is read
    layout             where tiles lie in one array, and which of them a selection touches
    events             what happens while reading, for those who listen
    model url ranges   what documents say; URLs as text; byte ranges
    errors             every exception and warning

``slicedfs.testing`` holds public fakes for the tests of others.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slicedfs.errors import (
        ChecksumError,
        CodecError,
        GraphSizeWarning,
        ManifestError,
        ManifestWarning,
        MissingExtraError,
        MissingTileError,
        MissingTileWarning,
        SlicedfsError,
        SlicedfsWarning,
        SpecError,
        StoreError,
        UrlPolicyError,
    )
    from slicedfs.indexing import index
    from slicedfs.node import Collection, TileSet
    from slicedfs.opening import open, open_dataarray  # noqa: A004 - slicedfs.open is its name
    from slicedfs.policy import UrlPolicy
    from slicedfs.show.bars import progress
    from slicedfs.show.chunking import suggest_chunks
    from slicedfs.show.plan import Plan, explain
    from slicedfs.show.thumbnails import Thumbnails
    from slicedfs.show.tracing import Trace, trace

__version__ = "0.1.0.dev0"

__all__ = [
    "ChecksumError",
    "CodecError",
    "Collection",
    "GraphSizeWarning",
    "ManifestError",
    "ManifestWarning",
    "MissingExtraError",
    "MissingTileError",
    "MissingTileWarning",
    "Plan",
    "SlicedfsError",
    "SlicedfsWarning",
    "SpecError",
    "StoreError",
    "Thumbnails",
    "TileSet",
    "Trace",
    "UrlPolicy",
    "UrlPolicyError",
    "explain",
    "index",
    "open",
    "open_dataarray",
    "progress",
    "suggest_chunks",
    "trace",
]

_HOMES = {
    "Collection": "node",
    "Plan": "show.plan",
    "Thumbnails": "show.thumbnails",
    "TileSet": "node",
    "Trace": "show.tracing",
    "UrlPolicy": "policy",
    "explain": "show.plan",
    "index": "indexing",
    "open": "opening",
    "open_dataarray": "opening",
    "progress": "show.bars",
    "suggest_chunks": "show.chunking",
    "trace": "show.tracing",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import slicedfs`` costs next to nothing."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'slicedfs' has no attribute {name!r}")
    value = getattr(import_module(f"slicedfs.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
