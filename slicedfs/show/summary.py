"""What a tile set document amounts to, in a few numbers and short texts; for reprs. Pure: looks at columns only."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from slicedfs.model import Tiles, TileSetDocument

__all__ = ["AxisSummary", "Summary", "plain", "summarize"]

T = TypeVar("T")

_SHOWN = 6
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class AxisSummary:
    """One index dim."""

    dim: str
    """Its name."""
    count: int
    """Positions along it: as stated, or the labels seen where they are not those of range(stated)."""
    labels: str
    """Its labels, as "0 … 8" or "1, 4, 7"."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A tile set in short."""

    axes: tuple[AxisSummary, ...]
    """Index dims, in the order of the document."""
    tiles: int
    """Tiles listed; more than `filled` where they form a mosaic."""
    positions: int
    """Combinations of labels that there are."""
    filled: int
    """Combinations of labels with at least one tile."""
    shapes: tuple[tuple[str, int], ...]
    """Shape of tiles, as "256 x 256" in (z, y, x), "" where not stated -> how many have it."""
    formats: tuple[tuple[str, int], ...]
    """Format as written, "" where not stated -> how many tiles have it."""
    coordinates: tuple[tuple[str, float, float], ...]
    """Name, smallest and largest value over all tiles."""
    pixels: int | None
    """Pixels of all tiles; None where the shape of some is not stated."""


def summarize(document: TileSetDocument) -> Summary:
    """Summarize `document`; a million tiles take well under a second."""
    tiles = document.tiles
    axes, filled = _axes(document)
    shapes = _counted(tiles.shape_codes, [*tiles.shapes, document.default_tile_shape], len(tiles))
    formats = _counted(tiles.format_codes, [*tiles.formats, document.default_tile_format], len(tiles))
    return Summary(
        axes=axes,
        tiles=len(tiles),
        positions=prod(axis.count for axis in axes) if len(tiles) else 0,
        filled=filled,
        shapes=tuple((_shape_text(shape), count) for shape, count in shapes),
        formats=tuple((form or "", count) for form, count in formats),
        coordinates=tuple(_ranges(tiles)),
        pixels=None if any(s is None for s, _ in shapes) else sum(prod(s.values()) * n for s, n in shapes if s),
    )


def plain(text: object) -> str:
    """Return text of a document for one line: no control characters or lone surrogates, cut where it is long."""
    shown = str(text)
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in shown)


def _axes(document: TileSetDocument) -> tuple[tuple[AxisSummary, ...], int]:
    """Return the index dims, and how many combinations of their labels have a tile."""
    axes: list[AxisSummary] = []
    places, place = _numbered(np.zeros(len(document.tiles), np.int64))
    for dim, column in document.tiles.indices.items():
        seen, numbers = _numbered(column)
        stated = document.shape.get(dim, len(seen))
        in_range = bool(len(seen)) and int(seen[-1]) < stated
        labels = f"0 … {stated - 1}" if in_range and stated > 1 else _labels(seen)
        axes.append(AxisSummary(dim, stated if in_range else len(seen), labels))
        # Numbered anew after each dim: products of many counts would not fit into 64 bits.
        places, place = _numbered(place * len(seen) + numbers)
    return tuple(axes), len(places)


def _numbered(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct values, ascending, and the number of each; like numpy.unique, without sorting a million."""
    if not len(values) or int(values.max()) > 4 * len(values) + 1024:
        seen, numbers = np.unique(values, return_inverse=True)
        return seen, numbers
    found = np.bincount(values) > 0
    return np.flatnonzero(found), (np.cumsum(found) - 1)[values]


def _labels(seen: NDArray[np.int64]) -> str:
    values = seen.tolist()
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:  # noqa: PLR2004
        return f"{values[0]} … {values[-1]}"
    return ", ".join(map(str, values[:_SHOWN])) + (f", … {values[-1]}" if len(values) > _SHOWN else "")


def _counted(codes: NDArray[np.int32] | None, values: list[T | None], count: int) -> list[tuple[T | None, int]]:
    """Return each value that tiles have, and how many; the last value stands for -1."""
    if codes is None:
        return [(values[-1], count)] if count else []
    counts = np.bincount(codes % len(values), minlength=len(values)).tolist()
    return [(value, many) for value, many in zip(values, counts, strict=True) if many]


def _shape_text(shape: Mapping[str, int] | None) -> str:
    return "" if shape is None else " x ".join(str(shape[dim]) for dim in ("z", "y", "x") if dim in shape)


def _ranges(tiles: Tiles) -> list[tuple[str, float, float]]:
    """Return the extremes of each coordinate that any tile states."""
    known = {name: column for name, column in tiles.coordinates.items() if not np.isnan(column).all()}
    return [(name, float(np.nanmin(column)), float(np.nanmax(column))) for name, column in known.items()]
