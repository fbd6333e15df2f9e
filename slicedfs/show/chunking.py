"""suggest_chunks(): chunks that are whole tiles and fit a size; and a warning before a graph that is too large."""

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from slicedfs.array import SlicedArray
from slicedfs.errors import GraphSizeWarning
from slicedfs.layout.selection import Span
from slicedfs.show.sizes import parsed

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MAX_CHUNKS", "Chunks", "suggest_chunks", "warn_of_many_chunks"]

MAX_CHUNKS = 50_000
"""More chunks than this cause a warning: dask needs about a millisecond for each."""
_IMAGE_DIMS = ("z", "y", "x", "s")

Chunks = dict[Hashable, int | tuple[int, ...]]


def suggest_chunks(
    obj: "xr.DataArray | xr.Dataset", target: int | str = "128MiB", along: str | Sequence[str] | None = None
) -> Chunks:
    """Suggest chunks of about `target` bytes that are made of whole tiles, so that no tile is read for two chunks.

    Starts from one tile a chunk, and puts tiles together along one dim after the other until the next tile would
    exceed `target`. No I/O.

    Parameters
    ----------
    obj
        What slicedfs opened, after any selection. Of one that is chunked, whole chunks are put together.
    target
        Largest size of a chunk in memory, as bytes or text ("128MiB"); one tile may be larger.
    along
        Dims along which chunks grow, the first one first. None: the index dims from the innermost out (z, …, c, r),
        then those inside the tiles (x, y).

    Returns
    -------
    dict
        dim -> length of its chunks, or all lengths where they differ; for ``.chunk()`` and ``chunks=``.

    Raises
    ------
    TypeError
        If `obj` does not know its tiles: it was not opened by slicedfs, or computed from what was.
    ValueError
        If `target` is no size, or `obj` has no such dim.

    Examples
    --------
    ``ds.chunk(slicedfs.suggest_chunks(ds, "64MiB", along=("z", "c")))``
    """
    import xarray as xr

    limit = parsed(target, "target")
    array = obj.data_vars.get("image") if isinstance(obj, xr.Dataset) else obj
    if not isinstance(array, xr.DataArray):
        raise TypeError(f"suggest_chunks needs a DataArray or Dataset opened by slicedfs, got {type(obj).__name__}.")
    tiles = _tile_lengths(array)
    groups = dict.fromkeys(tiles, 1)
    for dim in _order(array, along):
        largest = prod(max(lengths, default=1) * groups[d] for d, lengths in tiles.items()) * array.dtype.itemsize
        count = len(tiles[dim])
        if count < 2 or not largest:  # noqa: PLR2004
            continue
        fitting = max(1, min(count, limit // largest))
        groups[dim] = ceil(count / ceil(count / fitting))  # as many chunks, of even size
        if groups[dim] < count:
            break
    return {dim: _as_chunks(lengths, groups[dim]) for dim, lengths in tiles.items()}


def warn_of_many_chunks(dataset: "xr.Dataset", stacklevel: int) -> None:
    """Warn where the graph of a chunked Dataset would be too large to work with.

    Parameters
    ----------
    stacklevel
        As of :func:`warnings.warn`, counted from the caller.
    """
    count = max((prod(map(len, array.chunks or ())) for array in dataset.data_vars.values()), default=0)
    if count > MAX_CHUNKS:
        warnings.warn(
            f"chunks= makes {count} chunks, and dask spends about a millisecond on each; more than {MAX_CHUNKS} are "
            "slow. Open with chunks='auto', or without chunks, select, and then .chunk(slicedfs.suggest_chunks(...)).",
            GraphSizeWarning,
            stacklevel=stacklevel + 1,
        )


def _order(array: "xr.DataArray", along: str | Sequence[str] | None) -> Sequence[Hashable]:
    """Return the dims to grow along."""
    if along is None:
        index = [dim for dim in array.dims if dim not in _IMAGE_DIMS or (dim == "z" and _is_index(array, dim))]
        return [*reversed(index), *reversed([dim for dim in array.dims if dim not in index])]
    order = [along] if isinstance(along, str) else list(along)
    for dim in order:
        if dim not in array.dims:
            raise ValueError(f"along={along!r}: there is no dim {dim!r}; there are {', '.join(map(str, array.dims))}.")
    return order


def _is_index(array: "xr.DataArray", dim: Hashable) -> bool:
    """Say whether `dim` counts tiles, not pixels inside them."""
    return bool(array.encoding["preferred_chunks"].get(dim, 1) == 1)


def _tile_lengths(array: "xr.DataArray") -> dict[Hashable, list[int]]:
    """Return dim -> lengths of the pieces that tiles cut it into."""
    from slicedfs.lazy import unwrap

    preferred: Mapping[Hashable, int | tuple[int, ...]] | None = array.encoding.get("preferred_chunks")
    if preferred is None:
        raise TypeError(
            "suggest_chunks needs an array as slicedfs opened it, after any selection; this one does not know its "
            "tiles. Ask before computing with it."
        )
    if array.chunks is not None:  # to cut chunks anew would cost more than it gains
        return {dim: list(lengths) for dim, lengths in zip(array.dims, array.chunks, strict=True)}
    pixels = unwrap(array.variable._data)
    if pixels is not None:
        return dict(zip(array.dims, _selected_lengths(pixels, list(preferred.values())), strict=True))
    return {dim: _runs(np.arange(size), preferred.get(dim, 1)) for dim, size in array.sizes.items()}


def _selected_lengths(pixels: SlicedArray, preferred: list[int | tuple[int, ...]]) -> Iterable[list[int]]:
    """Return the lengths for each axis of a selection: a crop begins inside a tile, a step jumps over some.

    Parameters
    ----------
    preferred
        Of each axis of the whole array, in its order.
    """
    for (group, _), size in zip(pixels.selection.order, pixels.shape, strict=True):
        chosen = pixels.selection.groups[group]
        if isinstance(chosen, Span):
            positions = np.array(chosen.indices, np.int64)
        elif len(chosen.axes) == 1 and chosen.arrays[0].ndim == 1:
            positions = chosen.arrays[0]
        else:  # points that are selected jointly lie in any tile
            yield [size]
            continue
        yield _runs(positions, preferred[chosen.axes[0]])


def _runs(positions: "np.ndarray[Any, Any]", tile: int | tuple[int, ...]) -> list[int]:
    """Return how many neighbours in `positions` lie in the same piece."""
    piece = positions // tile if isinstance(tile, int) else np.searchsorted(np.cumsum(tile), positions, "right")
    cuts = np.flatnonzero(np.diff(piece)) + 1
    lengths: list[int] = np.diff([0, *cuts, len(positions)]).tolist()
    return lengths


def _as_chunks(lengths: list[int], count: int) -> int | tuple[int, ...]:
    """Put each `count` pieces together: one number where all but the last are equal, as dask has it."""
    sums = [sum(lengths[i : i + count]) for i in range(0, len(lengths), count)]
    even = all(length == sums[0] for length in sums[:-1]) and sums[-1] <= sums[0]
    return sums[0] if even else tuple(sums)
