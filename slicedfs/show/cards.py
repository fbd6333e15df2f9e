"""Nodes as HTML, for notebooks. Text of documents is escaped, and nothing is read."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from slicedfs.model import CollectionDocument, Document, TileSetDocument
from slicedfs.show.sizes import shown
from slicedfs.show.summary import Summary, plain, summarize
from slicedfs.url import redact

if TYPE_CHECKING:
    import numpy as np

__all__ = ["collection_card", "tile_set_card"]

_SHOWN = 20
_CELL = 'style="text-align: left; vertical-align: top"'


def tile_set_card(path: str, document: TileSetDocument, dtype: "np.dtype[Any] | None") -> str:
    """Return a tile set as HTML.

    Parameters
    ----------
    path
        Names that lead to it; "" for a root.
    dtype
        Of its pixels; None while it is not known.
    """
    found = summarize(document)
    rows = [
        ("dims", ", ".join(f"{axis.dim}: {axis.count} ({axis.labels})" for axis in found.axes) or "none"),
        ("tiles", _tiles(found)),
        ("tile size", _counted([(f"{shape} px" if shape else "", count) for shape, count in found.shapes])),
        ("format", _counted([(form or "by file name", count) for form, count in found.formats])),
        ("pixels", _pixels(found, dtype)),
        *((f"{name} from … to", f"{low:.6g} … {high:.6g}") for name, low, high in found.coordinates),
    ]
    return _card("slicedfs.TileSet", path, document, rows)


def collection_card(path: str, document: CollectionDocument) -> str:
    """Return a collection as HTML; its members by name, as they are read on demand."""
    names = list(document.contents.items())
    members = [(name, redact(reference)) for name, reference in names[:_SHOWN]]
    if len(names) > _SHOWN:
        members.append((f"… {len(names) - _SHOWN} more", ""))
    rows = [("kind", document.kind), ("members", str(len(names)))]
    return _card("slicedfs.Collection", path, document, rows) + _table(members)


def _card(kind: str, path: str, document: Document, rows: list[tuple[str, str]]) -> str:
    head = f"<strong>{escape(kind)}</strong> {escape(plain(path))}"
    extras = document.extras
    named = list(extras) if isinstance(extras, Mapping) else [] if extras is None else [extras]
    keys = ", ".join(plain(key) for key in named[:_SHOWN]) + (", …" if len(named) > _SHOWN else "")
    more = [("extras", keys)] if keys else []
    return f"<div>{head}</div>" + _table([("url", redact(document.url)), ("version", document.version), *rows, *more])


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = [
        f"<tr><th {_CELL}>{escape(plain(name))}</th><td {_CELL}>{escape(_printable(text))}</td></tr>"
        for name, text in rows
    ]
    return f"<table>{''.join(cells)}</table>"


def _printable(text: str) -> str:
    """Escape what cannot be shown, word by word, so that only long words are cut."""
    return " ".join(plain(word) for word in text.split(" "))


def _tiles(found: Summary) -> str:
    empty = found.positions - found.filled
    return f"{found.tiles} ({empty} of {found.positions} positions empty)" if empty else str(found.tiles)


def _counted(counts: Iterable[tuple[str, int]]) -> str:
    known = list(counts)
    if len(known) == 1:
        return known[0][0] or "not stated"
    return ", ".join(f"{text or 'not stated'} ({count})" for text, count in known) or "none"


def _pixels(found: Summary, dtype: "np.dtype[Any] | None") -> str:
    if found.pixels is None:
        return "not known: the document does not state the shape of all tiles"
    if dtype is None:
        return f"{found.pixels:,} (their dtype is known once it is opened)"
    return f"{found.pixels:,} of {dtype}, {shown(found.pixels * dtype.itemsize)}"
