"""What ``slicedfs.open`` gives: a Collection of named nodes, or a TileSet. Children load on demand."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from slicedfs.model import CollectionDocument, Document, TileSetDocument
from slicedfs.options import ArrayOptions
from slicedfs.resolver import Opened, Session
from slicedfs.show.cards import collection_card, tile_set_card
from slicedfs.show.chunking import warn_of_many_chunks
from slicedfs.show.summary import plain, summarize
from slicedfs.show.thumbnails import Thumbnails, read_thumbnails
from slicedfs.show.tiletable import TileTable
from slicedfs.source import TileSource, open_source
from slicedfs.store import run
from slicedfs.url import redact

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Collection", "Node", "TileSet", "find", "node_of", "walk"]


class _Opened:
    """What collections and tile sets share."""

    def __init__(self, session: Session, opened: Opened, names: tuple[str, ...], options: ArrayOptions) -> None:
        self.session, self.opened, self.options = session, opened, options
        self.names = names
        """Names from the root to this node; () for the root."""

    @property
    def path(self) -> str:
        """Names from the root to this node, joined by "/"; "" for the root."""
        return "/".join(self.names)

    @property
    def name(self) -> str:
        """Name of this node in its collection; "" for the root."""
        return self.names[-1] if self.names else ""

    @property
    def url(self) -> str:
        """Where the document lies, without secrets."""
        return redact(self.opened.url)

    @property
    def document(self) -> Document:
        """What the document says."""
        return self.opened.document

    @property
    def version(self) -> str:
        """Version of the document, as written."""
        return self.document.version

    @property
    def extras(self) -> Any:
        """The document's ``extras`` as written: any JSON."""
        return self.document.extras

    @property
    def unknown(self) -> Mapping[str, Any]:
        """Keys of the document that the format does not define, as written."""
        return self.document.unknown


class TileSet(_Opened):
    """One array of tiles. Nothing is read until :meth:`to_dataset`, and no pixel until that is loaded."""

    _dtype: np.dtype[Any] | None = None
    """Of the pixels, once a header has been read."""

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The document's ``dimensions`` as written; their order carries no meaning."""
        return self.document.dimensions

    @property
    def shape(self) -> Mapping[str, int]:
        """The document's ``shape``: index dim -> stated count."""
        return self.document.shape

    @property
    def tiles(self) -> TileTable:
        """All tiles, in columns; ``tiles.to_pandas()`` gives a DataFrame."""
        return TileTable.of(self.document)

    @property
    def document(self) -> TileSetDocument:
        """What the document says."""
        return cast("TileSetDocument", self.opened.document)  # nodes are made by node_of, which looks

    def to_dataset(self, **options: Any) -> "xr.Dataset":
        """Return the lazy Dataset; reads one tile header at most.

        Parameters
        ----------
        **options
            Of :func:`xarray.open_dataset`: ``chunks``, ``cache``, ``drop_variables`` …, and pixel_coords, fill_value,
            on_missing, verify, max_bytes, max_tile_bytes of :func:`slicedfs.open_dataarray`.

        Raises
        ------
        ManifestError, MissingTileError, StoreError, CodecError

        Warns
        -----
        GraphSizeWarning
            If ``chunks`` makes more than 50,000 chunks.
        """
        return self._dataset(options)

    def to_dataarray(self, **options: Any) -> "xr.DataArray":
        """Return the variable "image" of :meth:`to_dataset`."""
        return self._dataset(options)["image"]

    def thumbnails(self, n: int = 4, *, size_px: int = 128) -> Thumbnails:
        """Read `n` tiles, spread over the tile set, and return them small; each is read whole.

        Contrast is stretched tile by tile. Of tiles that are stacks, the middle plane is shown.

        Parameters
        ----------
        n
            How many; all where there are fewer.
        size_px
            Largest height and width; larger tiles are thinned out, not averaged.

        Returns
        -------
        Thumbnails
            ``numpy.asarray`` of it is (n, h, w) uint8, with RGB (n, h, w, 3); notebooks show pictures.

        Raises
        ------
        ValueError
            If `n` or `size_px` is below 1.
        ManifestError, MissingTileError, StoreError, ChecksumError, CodecError, UrlPolicyError
        """
        return run(self._thumbnails, n, size_px)

    async def source(self, options: ArrayOptions | None = None) -> TileSource:
        """Place the tiles; on the I/O loop only."""
        return await open_source(self.session, self.opened, options or self.options)

    async def _thumbnails(self, count: int, size_px: int) -> Thumbnails:
        source = await self.source()
        self._dtype = source.dtype
        return await read_thumbnails(source, count, size_px)

    def _dataset(self, options: dict[str, Any]) -> "xr.Dataset":
        import xarray as xr

        dataset = xr.open_dataset(self, engine="slicedfs", **options)  # type: ignore[arg-type]
        if "image" in dataset:
            self._dtype = dataset["image"].dtype
        warn_of_many_chunks(dataset, stacklevel=3)
        return dataset

    def __repr__(self) -> str:
        found = summarize(self.document)
        counts = " ".join(f"{dim}={count}" for dim, count in self.document.shape.items())
        shapes = [shape.replace(" ", "") for shape, _ in found.shapes if shape]
        parts = [counts, f"{found.tiles} tiles"]
        empty = found.positions - found.filled
        parts += [f"{empty} of {found.positions} positions empty"] if empty else []
        parts += (
            [f"tiles of {shapes[0]} px" if len(shapes) == 1 else f"tiles of {len(shapes)} shapes"] if shapes else []
        )
        return f"<slicedfs.TileSet {plain(self.path) or self.url}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        return tile_set_card(self.path, self.document, self._dtype or self._stated_dtype())

    def _stated_dtype(self) -> np.dtype[Any] | None:
        """Return the dtype that ``extras.slicedfs`` states."""
        hints = self.extras.get("slicedfs") if isinstance(self.extras, Mapping) else None
        stated = hints.get("dtype") if isinstance(hints, Mapping) else None
        try:
            return np.dtype(stated) if isinstance(stated, str) else None
        except TypeError:
            return None


class Collection(_Opened, Mapping[str, "Collection | TileSet"]):
    """Named nodes. Asking for one reads its document; listing, ``len`` and ``in`` read nothing.

    ``collection["group/fov_001"]`` follows a path. A bare leaf name, ``collection["fov_001"]``, works where only one
    node below has it; finding that out reads the documents below.
    """

    @property
    def kind(self) -> str:
        """What it is: "collection", or "experiment" for a SpaceTx experiment, whose names are those of its images."""
        return self.document.kind

    @property
    def codebook(self) -> str | None:
        """Reference of a SpaceTx experiment's codebook, as written; slicedfs does not read it."""
        return self.document.codebook

    @property
    def document(self) -> CollectionDocument:
        """What the document says."""
        return cast("CollectionDocument", self.opened.document)  # nodes are made by node_of, which looks

    def __getitem__(self, name: str) -> "Collection | TileSet":
        return run(find, self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.document.contents)

    def __len__(self) -> int:
        return len(self.document.contents)

    def __contains__(self, name: object) -> bool:
        return name in self.document.contents

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    async def child(self, name: str) -> "Collection | TileSet":
        """Open the child `name`; on the I/O loop only.

        Raises
        ------
        KeyError
            If there is none.
        """
        reference = self.document.contents.get(name)
        if reference is None:
            raise KeyError(f"{self.url} has no member {name!r}; it has {_few(list(self))}")
        opened = await self.session.child(self.opened, reference)
        return node_of(self.session, opened, (*self.names, name), self.options)

    def __repr__(self) -> str:
        where = plain(self.path) or self.url
        return f"<slicedfs.Collection {where}: {self.kind} of {len(self)}: {_few(list(self))}>"

    def _repr_html_(self) -> str:
        return collection_card(self.path, self.document)


Node = Collection | TileSet


def node_of(session: Session, opened: Opened, names: tuple[str, ...], options: ArrayOptions) -> Node:
    """Return the node of an opened document."""
    kind = TileSet if isinstance(opened.document, TileSetDocument) else Collection
    return kind(session, opened, names, options)


async def find(start: Node, path: str) -> Node:
    """Return the node at `path` below `start`: a name, names joined by "/", or a leaf name that is unique below.

    Raises
    ------
    KeyError
        If there is none, naming those there are, or several, naming them.
    """
    wanted = path.strip("/")
    if not wanted:
        return start
    if isinstance(start, TileSet):
        raise KeyError(f"{start.url} is a tile set, it has no member {path!r}; open it without group=")
    found = await _follow(start, wanted)
    if found is not None:
        return found
    leaves = [node for node in await walk(start) if _is_called(node.names[len(start.names) :], wanted)]
    if len(leaves) == 1:
        return leaves[0]
    if leaves:
        raise KeyError(f"{start.url} has several members {path!r}; ask for one of {_few([n.path for n in leaves])}")
    raise KeyError(f"{start.url} has no member {path!r}; it has {_few(list(start))}")


def _is_called(names: tuple[str, ...], wanted: str) -> bool:
    """Tell whether the last of `names`, joined by "/", are `wanted`; a name that holds "/" counts as one."""
    return any("/".join(names[first:]) == wanted for first in range(len(names)))


async def _follow(start: Collection, path: str) -> Node | None:
    """Follow names from `start`; a name may hold "/" itself."""
    if path in start:
        return await start.child(path)
    parts = path.split("/")
    for cut in range(len(parts) - 1, 0, -1):
        name = "/".join(parts[:cut])
        if name in start:
            child = await start.child(name)
            found = await _follow(child, "/".join(parts[cut:])) if isinstance(child, Collection) else None
            if found is not None:
                return found
    return None


async def walk(start: Node, *, select: str | None = None, depth: int | None = None) -> list[Node]:
    """Return `start` and the nodes below it, parents first, read concurrently.

    Parameters
    ----------
    select
        Glob pattern on the path below `start`, as "primary/fov_0*"; nodes off every matching path are not read.
    depth
        Levels below `start` that are read; None: all.
    """
    found = await start.session.below(start.opened, select=select, depth=depth)
    return [start, *(node_of(start.session, opened, (*start.names, *names), start.options) for names, opened in found)]


def _few(names: list[str]) -> str:
    """Return the first names as text."""
    return ", ".join(map(repr, names[:10])) + (", …" if len(names) > 10 else "") if names else "none"  # noqa: PLR2004
