"""Writes the packed index of a tile set beside its document."""

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from slicedfs.errors import ManifestError, MissingTileError, StoreError
from slicedfs.manifest import Made, pack
from slicedfs.model import TileSetDocument
from slicedfs.policy import UrlPolicy
from slicedfs.resolver import INDEX_SUFFIX, Opened, Session
from slicedfs.store import Reply, StoreOptions, run, write
from slicedfs.url import is_chained, join, name, redact, root_candidates, scheme

__all__ = ["index"]


def index(
    url: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    filesystems: Mapping[str, Any] | None = None,
    policy: UrlPolicy | None = None,
) -> str:
    """Write the packed index of the tile set at `url`: a file that opens as the document does, but at once.

    Where a document of ten million tiles takes half a minute to read, its index takes milliseconds on a local disk, as
    it is mapped into memory, and one request of a quarter of the bytes elsewhere. It is opened by its own name:
    ``slicedfs.open("tiles.json.slicedfs-index")``. References start from the document, as always.

    Parameters
    ----------
    url
        A document with ``tiles``; it is read once, and checked as when it is opened.
    out
        Where to write; None: beside the document, under its name with ".slicedfs-index" behind it. Only local files of
        such a name are mapped into memory.
    storage_options, filesystems, policy
        As for :func:`slicedfs.open`.

    Returns
    -------
    str
        URL of the index, without secrets.

    Raises
    ------
    ManifestError
        It is no tile set, or breaks a rule of the format.
    MissingTileError, StoreError
        It cannot be read, changes meanwhile, or there cannot be written.
    ValueError
        If `out` is needed: the document lies inside an archive or has a query in its URL.
    """
    given: dict[str, Any] = {"storage_options": storage_options, "filesystems": filesystems, "policy": policy}
    first, *others = root_candidates(url)
    session = Session(StoreOptions(root=first, **{key: value for key, value in given.items() if value is not None}))
    opened, stamp = run(_read, session, others)
    target = root_candidates(out)[0] if out is not None else _beside(opened.url)
    made = Made(_reference(opened.url, target), opened.digest, stamp.size, stamp.etag)
    write(target, pack(_tile_set(opened), made), session.options)
    return redact(target)


async def _read(session: Session, others: list[str]) -> tuple[Opened, Reply]:
    """Return the document, with the size and etag that it has before and after it is read."""
    url, before = await _first(session, [session.options.root, *others])
    opened = await session.document(url)
    after = await session.stamp(url)
    if (before.size, before.etag) != (after.size, after.etag):
        raise StoreError(f"{redact(url)} changed while it was read. Try again.", url=redact(url))
    return opened, after


async def _first(session: Session, urls: list[str]) -> tuple[str, Reply]:
    """Return the first of the URLs at which there is something."""
    for url in urls[:-1]:
        try:
            return url, await session.stamp(url)
        except MissingTileError:
            continue
    return urls[-1], await session.stamp(urls[-1])


def _tile_set(opened: Opened) -> TileSetDocument:
    document = opened.document
    where = redact(opened.url)
    if not isinstance(document, TileSetDocument):
        raise ManifestError(
            f"{where} is {document.noun}, and only tile sets have an index. Write one for each of its tile sets.",
            url=where,
        )
    if document.url != opened.url:
        raise ManifestError(f"{where} is an index already. Give the document that it was made from.", url=where)
    return document


def _beside(url: str) -> str:
    """Return where the index of a document lies by default."""
    if is_chained(url) or "?" in url:
        raise ValueError(f"{redact(url)}: cannot be written beside, so say where the index shall lie (out=, --out).")
    return url + INDEX_SUFFIX


def _reference(url: str, target: str) -> str:
    """Return what leads from the index to the document: its name where it lies beside it, else its URL, no secrets."""
    near = quote(name(url), safe="")
    if join(target, f"./{near}") == url:
        return f"./{near}"
    plain = url.partition("?")[0]
    if is_chained(url) or ("@" in urlsplit(plain).netloc and scheme(url) != "abfs"):
        raise ValueError(f"{redact(url)}: an index elsewhere cannot say where this is; write it beside the document.")
    return plain
