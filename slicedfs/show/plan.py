"""What reading would cost: the tiles, requests and bytes of a selection, without making one."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from slicedfs.array import SlicedArray
from slicedfs.layout.grid import Paste
from slicedfs.read import Choice, choices
from slicedfs.show.sizes import shown
from slicedfs.source import TileSource
from slicedfs.store import run
from slicedfs.url import redact

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Plan", "PlannedTile", "explain"]

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PlannedTile:
    """One tile that would be read."""

    url: str
    """Redacted."""
    labels: str
    """Its labels, as "r=1, c=2"."""
    region: str
    """The part of it that is wanted, as "y 0:100, x 20:64"; "all" where it is the whole tile."""
    bytes: int
    """Bytes that would be asked for. Of a file that is read whole: those of its pixels, fewer come where it is
    compressed."""
    requests: int = 1
    """Requests for them; with one more where the layout of the file is not known yet."""


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """The tiles that a selection touches."""

    tiles: int
    """Tiles that would be read."""
    requests: int
    """Requests that would be sent if all goes well; documents and headers already known."""
    bytes: int
    """Bytes of these requests; of compressed tiles that are read whole, fewer come."""
    selected_bytes: int
    """Bytes of the result."""
    planned: tuple[PlannedTile, ...]
    """One entry a tile."""

    def rows(self) -> Iterator[PlannedTile]:
        """Iterate over the tiles."""
        return iter(self.planned)

    def __repr__(self) -> str:
        sizes = f"{shown(self.bytes)} for {shown(self.selected_bytes)} of pixels"
        head = f"{self.tiles} tiles, {self.requests} requests, {sizes}"
        lines = [f"  {row.labels:<20} {row.region:<28} {row.url}" for row in self.planned[:_SHOWN]]
        more = [f"  … {self.tiles - _SHOWN} more"] if self.tiles > _SHOWN else []
        return "\n".join([head, *lines, *more])


def explain(obj: "xr.DataArray | xr.Dataset | SlicedArray") -> Plan:
    """Tell what loading `obj` would request.

    Parameters
    ----------
    obj
        What :func:`slicedfs.open_dataarray` or the engine gave, after any selection; not yet loaded, not chunked.

    Returns
    -------
    Plan
        Its repr is a table. An object that is loaded already gives an empty plan.

    Raises
    ------
    TypeError
        If the object does not come from slicedfs, or is chunked (explain it before ``.chunk()``).
    """
    pixels = _pixels(obj)
    return Plan(0, 0, 0, getattr(obj, "nbytes", 0), ()) if pixels is None else run(_plan, pixels)


def _pixels(obj: object) -> SlicedArray | None:
    """Return the lazy array inside `obj`; None where it is loaded."""
    if isinstance(obj, SlicedArray):
        return obj
    import numpy as np
    import xarray as xr

    from slicedfs.lazy import unwrap

    if isinstance(obj, xr.Dataset):
        if "image" not in obj:
            raise TypeError("explain needs a Dataset opened by slicedfs, this one has no variable 'image'")
        obj = obj["image"]
    if not isinstance(obj, xr.DataArray):
        raise TypeError(f"explain needs a DataArray or Dataset opened by slicedfs, got {type(obj).__name__}")
    data = obj.variable._data
    found = unwrap(data)
    if found is None and obj.chunks is not None:
        raise TypeError("explain needs the array before it is chunked; open it with chunks=None")
    if found is None and not (obj.variable._in_memory or isinstance(data, np.ndarray)):
        raise TypeError("explain needs an array opened by slicedfs")
    return found


async def _plan(pixels: SlicedArray) -> Plan:
    source = await pixels.source()
    found = source.placement.grid.touched(pixels.selection)
    rows = tuple(
        _row(source, tile, url, found.tiles[tile], choice)
        for tile, url, _, choice in choices(source, found, found.tiles)
    )
    size = prod(pixels.shape) * pixels.dtype.itemsize
    return Plan(len(rows), sum(row.requests for row in rows), sum(row.bytes for row in rows), size, rows)


def _row(source: TileSource, tile: int, url: str, parts: list[Paste], choice: Choice) -> PlannedTile:
    shape = source.placement.tile_shapes[tile].tolist()
    size = prod(shape) * source.dtype.itemsize
    wanted = [part.stop - part.start for part in choice.region or ()][:-1]
    requests, n_bytes = choice.cost(size, prod(wanted) * shape[-1] * source.dtype.itemsize)
    region = "; ".join(_region(part, source.placement.image_dims, shape) for part in parts)
    return PlannedTile(redact(url), source.document.where(tile), region, n_bytes, requests)


def _region(part: Paste, dims: tuple[str, ...], shape: list[int]) -> str:
    parts = [
        f"{dim} {_index(index)}"
        for dim, index, size in zip(dims, part.src, shape, strict=True)
        if not (isinstance(index, slice) and (index.start, index.stop, index.step) == (0, size, 1))
    ]
    return ", ".join(parts) or "all"


def _index(index: Any) -> str:
    if isinstance(index, slice):
        return f"{index.start}:{index.stop}" + (f":{index.step}" if index.step != 1 else "")
    return f"{len(index)} points in {index.min()}:{index.max() + 1}"
