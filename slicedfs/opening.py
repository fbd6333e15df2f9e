"""The openers: from a URL to a node, a DataArray, a Dataset or groups of Datasets."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from slicedfs.dataset import IMAGE, attributes, build_dataset
from slicedfs.layout.coords import PixelCoords
from slicedfs.node import Node, TileSet, find, node_of, walk
from slicedfs.options import ArrayOptions, Combine, OnMissing, Verify
from slicedfs.policy import UrlPolicy
from slicedfs.resolver import Session
from slicedfs.show.chunking import warn_of_many_chunks
from slicedfs.source import TileSource, open_source
from slicedfs.store import StoreOptions, gather, run
from slicedfs.url import root_candidates

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArrayKeywords", "OpenKeywords", "StoreKeywords", "Target", "Which", "open", "open_dataarray", "open_groups"]

Target = str | os.PathLike[str] | Node
"""What can be opened: a path, a URL, or a node that is open already."""


class StoreKeywords(TypedDict, total=False):
    """How to reach the files."""

    storage_options: Mapping[str, Any] | None
    """fsspec options for the origin of the URL that is opened, and for no other."""
    filesystems: Mapping[str, Any] | None
    """Protocol ("https") or URL prefix ("s3://other-bucket/") -> options or an fsspec filesystem, for references that
    lead elsewhere."""
    policy: UrlPolicy | None
    """Which document may lead where; None: the default policy."""
    concurrency: int | None
    """Requests at a time to one origin; None: chosen by slicedfs."""
    bytes_in_flight: int
    """Bytes asked for and not yet decoded, over the whole process."""
    gap_bytes: int
    """Ranges of one file that lie no further apart than this are read as one."""
    memory_cache_bytes: int
    """Decoded tiles that stay in memory because another part of them may be wanted next, over the whole process."""
    tile_cache: str | os.PathLike[str] | None
    """Directory that keeps documents and whole tiles; None: nothing is kept."""
    tile_cache_bytes: int
    """How large it may grow."""


class ArrayKeywords(TypedDict, total=False):
    """How pixels and coordinates are read; see :class:`slicedfs.options.ArrayOptions`."""

    pixel_coords: PixelCoords
    fill_value: complex | None
    on_missing: OnMissing
    verify: Verify
    max_bytes: int | None
    max_tile_bytes: int


class OpenKeywords(StoreKeywords, ArrayKeywords, total=False):
    """All of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which array of a document is wanted."""

    group: str | None = None
    """Path below the document, as "primary/fov_001"; None: the document itself."""
    level: int = 0
    """Zoom level; 0 is full resolution."""
    combine: Combine
    """How the tile sets of a collection become one array."""


def open(  # noqa: A001 - slicedfs.open reads like builtins' open, and is never imported by star
    url: str | os.PathLike[str],
    *,
    storage_options: Mapping[str, Any] | None = None,
    filesystems: Mapping[str, Any] | None = None,
    policy: UrlPolicy | None = None,
    tile_cache: str | os.PathLike[str] | None = None,
    verify: Verify = "auto",
) -> Node:
    """Open the document at `url`: one request, whatever it refers to.

    Parameters
    ----------
    url
        A local path or any URL that fsspec understands, chained ones (``zip://m.json::https://…``) included.
    storage_options
        fsspec options for the origin of `url`, as ``{"anon": True}``; they never go to another origin.
    filesystems
        For references that lead elsewhere: protocol ("https") or URL prefix ("s3://other-bucket/") -> fsspec options
        or filesystem. Without an entry other origins are read anonymously.
    policy
        Which document may lead where; None: the default :class:`slicedfs.UrlPolicy`.
    tile_cache
        Directory that keeps documents and whole tiles, verified on every hit, shared safely by processes, and bounded
        (10 GiB; ``tile_cache_bytes`` of the other openers). Tiles that it holds cost no request, and where no server
        answers, documents are read as they were kept, with a warning. Tiles without sha256 belong to the document
        that lists them: they are read again when it changes, not when they alone do.
    verify
        "auto": whole tiles with a sha256 are verified; "always" forces that; "never" skips it.

    Returns
    -------
    Collection or TileSet
        By what the document is.

    Raises
    ------
    ManifestError
        If the document breaks a rule of the format.
    MissingTileError
        If it is absent (also a FileNotFoundError).
    StoreError
        If it could not be read.
    """
    given = OpenKeywords(
        storage_options=storage_options, filesystems=filesystems, policy=policy, tile_cache=tile_cache, verify=verify
    )
    return run(_root, url, *_split(given))


def open_dataarray(
    url: Target,
    *,
    group: str | None = None,
    level: int = 0,
    stack: str | None = None,
    mosaic: bool = False,
    chunks: int | Mapping[Any, Any] | Literal["auto"] | None = None,
    **options: Unpack[OpenKeywords],
) -> "xr.DataArray":
    """Open one tile set as a lazy DataArray; reads its documents and at most one tile header.

    Parameters
    ----------
    url
        As for :func:`slicedfs.open`.
    group
        Path of the tile set below the document, as "primary/fov_001"; None: the document is a tile set itself.
    level
        Zoom level; 0 is full resolution.
    stack
        Name of a new dim, as "fov": the tile sets of a collection, of equal shape, become one array along it.
    mosaic
        True: the tile sets of a collection become one array, placed by their coordinates on one pixel grid.
    chunks
        None: lazy without dask. ``{}``: one dask chunk a tile; "auto": whole multiples of tiles. A GraphSizeWarning
        tells where this makes more than 50,000 chunks (``xr.open_dataset`` does not: an engine never sees `chunks`).
    **options
        storage_options, filesystems, policy, tile_cache, verify
            As for :func:`slicedfs.open`.
        tile_cache_bytes
            How large the cache may grow; default 10 GiB.
        concurrency, bytes_in_flight
            Bounds on what is under way to one origin.
        pixel_coords : {"edges", "centers"}
            A stated range spans the outer edges of its pixels, or the first to the last pixel's centre (starfish).
        fill_value
            Value of positions without a tile; default 0 for integers and bool, NaN for floats.
        on_missing : {"raise", "fill"}
            What a listed file that is absent does.
        max_bytes
            Reads with a larger result are refused; default: what is free in memory.
        max_tile_bytes
            Tiles that declare more decoded bytes are refused; default 1 GiB.

    Returns
    -------
    xarray.DataArray
        Named "image", with named dims and a coordinate on each.

    Raises
    ------
    ManifestError, MissingTileError, StoreError, UrlPolicyError, CodecError, KeyError
    """
    import xarray as xr

    which: dict[str, Any] = {"group": group, "level": level, "stack": stack, "mosaic": mosaic}
    dataset = xr.open_dataset(url, engine="slicedfs", chunks=chunks, **which, **options)  # type: ignore[arg-type]
    warn_of_many_chunks(dataset, stacklevel=2)
    return dataset[IMAGE]


def open_dataset(target: Target, which: Which, options: OpenKeywords) -> "xr.Dataset":
    """Open one array as a Dataset, without what :func:`xarray.open_dataset` adds."""
    return build_dataset(run(_source, target, which, options))


def open_groups(
    target: Target, group: str | None, part: tuple[str | None, int | None], options: OpenKeywords
) -> dict[str, "xr.Dataset"]:
    """Open every tile set below `target`, concurrently: group path -> Dataset; collections give empty ones.

    Parameters
    ----------
    part
        select and depth, as for :func:`slicedfs.node.walk`.
    """
    nodes, sources = run(_tree, target, group, part, options)
    return {
        name: _without_arrays(node) if source is None else build_dataset(source)
        for node, name, source in zip(nodes, _group_names(nodes), sources, strict=True)
    }


def _without_arrays(node: Node) -> "xr.Dataset":
    """Return the Dataset of a collection."""
    import xarray as xr

    dataset = xr.Dataset(attrs=attributes(node.document))
    dataset.encoding["source"] = node.url  # xarray would put the URL as given, secrets included
    return dataset


def _split(options: OpenKeywords) -> tuple[StoreKeywords, ArrayOptions]:
    """Sort options by what they concern.

    Raises
    ------
    TypeError
        If there is no such option.
    """
    known = OpenKeywords.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(f"slicedfs has no option {name!r}; it has {', '.join(known)}")
    of_array = ArrayKeywords.__annotations__
    store = {name: value for name, value in options.items() if name not in of_array and value is not None}
    array = {name: value for name, value in options.items() if name in of_array}
    return cast("StoreKeywords", store), ArrayOptions(**array)  # type: ignore[arg-type]


async def _root(target: Target, store: StoreKeywords, options: ArrayOptions) -> Node:
    if isinstance(target, Node):
        if store:
            raise TypeError(f"{', '.join(store)} cannot change for a node that is open; pass them to slicedfs.open()")
        return target
    if not isinstance(target, str | os.PathLike):
        raise TypeError(f"slicedfs opens paths, URLs and its own nodes, not {type(target).__name__}")
    first, *others = root_candidates(target)
    session = Session(StoreOptions(root=first, **store))  # type: ignore[arg-type]
    return node_of(session, await session.root(*others), (), options)


async def _source(target: Target, which: Which, options: OpenKeywords) -> TileSource:
    store, array = _split(options)
    node = await find(await _root(target, store, array), which.group or "")
    if which.level != 0:
        raise ValueError(f"{node.url} has no zoom levels, so level must be 0, got {which.level!r}")
    return await open_source(node.session, node.opened, array, which.combine)


async def _tree(
    target: Target, group: str | None, part: tuple[str | None, int | None], options: OpenKeywords
) -> tuple[list[Node], list[TileSource | None]]:
    store, array = _split(options)
    start = await find(await _root(target, store, array), group or "")
    select, depth = part
    nodes = [
        node_of(node.session, node.opened, node.names[len(start.names) :], array)
        for node in await walk(start, select=select, depth=depth)
    ]
    return nodes, await gather(_source_or_none(node) for node in nodes)


async def _source_or_none(node: Node) -> TileSource | None:
    return await node.source() if isinstance(node, TileSet) else None


def _group_names(nodes: list[Node]) -> list[str]:
    """Return a DataTree path for each node; "/" in names, and names "." and "..", become "_"; clashes get a number."""
    paths: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for node in nodes:
        parent = paths[node.names[:-1]] if node.names else ""
        own = node.name.replace("/", "_")
        wanted = f"{parent.rstrip('/')}/{'_' if own in ('.', '..') else own}"
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name)
        paths[node.names] = name
    return [paths[node.names] for node in nodes]
