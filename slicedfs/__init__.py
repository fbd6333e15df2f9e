"""Tiled image sets in buckets (slicedimage / SpaceTx manifests) as lazy xarray arrays.

A map of the package; imports point down, and a test keeps it so::

    cli                one function a command
    xarray_backend     engine "slicedfs" of xarray
    opening            URL -> node, DataArray, Dataset, groups
    explain            what a selection would request
    tracing bars       what was requested; progress of loads
    chunking           chunks for dask that are whole tiles
    cards thumbnails   nodes as HTML; a few tiles, small
    node               Collection and TileSet, as slicedfs.open gives them
    dataset            an opened tile set as an xarray Dataset
    lazy               SlicedArray as the data of an xarray Variable
    array              SlicedArray: shape, dtype, selections; the doors to the pixels
    read               one read: grid + codecs + store -> ndarray
    source             an opened tile set: document, placement, dtype; reopens in other processes
    resolver           follows documents from URL to URL
    manifest codecs store    dict <-> model; bytes <-> pixels; THE ONLY I/O
    labelled           coordinates of an array
    summary tiletable  a document in short; its tiles as a DataFrame
    placement merge mosaic   where the tiles of one document, or of several, lie in one array
    grid scattered     selection -> which tiles, which part of each: by a table of cells, or for tiles at any offset
    policy options     which URL may lead where; how an array is read
    events             what happens while reading, for those who listen
    model url ranges selection coords sizes    values and pure functions
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
