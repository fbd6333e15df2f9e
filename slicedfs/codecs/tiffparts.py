"""Windows of TIFF pages: rows of uncompressed pixels, or the strips and tiles that a window touches. Pure."""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from slicedfs.codecs.parts import Cut, Window, cut_run
from slicedfs.codecs.tiffpages import TiffPages
from slicedfs.codecs.tile import Array, Bytes

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage

__all__ = ["cut_pages", "planes_in", "stacked"]

_JPEG = frozenset((6, 7, 33007, 34892))  # compressions whose segments need the page's tables
_FIRST_BYTE = 8
_NORMAL_AXES = "ZYX"  # at 1 to 3 of tifffile's five axes: separate samples, depth, length, width, contiguous samples


def cut_pages(pages: TiffPages, run: int | None, window: Window) -> Cut:
    """Return the pieces that hold `window`; `run` is that of the pages, which is known already.

    Raises
    ------
    ValueError
        A strip or tile of it is absent.
    """
    if run is not None:
        return cut_run(run, pages.header.shape, pages.stored, "C", window)
    n_planes = len(pages.planes)
    inside = Window(window.region[n_planes:], window.dims[n_planes:])
    planes = planes_in(pages, window)
    cuts = [_cut_page(pages.pages[plane], pages.stored, inside) for plane in planes]
    if not n_planes:
        return cuts[0]
    shape = [wanted.stop - wanted.start for wanted in window.region]
    return stacked(cuts, lambda found: np.stack(found).reshape(shape))


def planes_in(pages: TiffPages, window: Window) -> list[int]:
    """Return the numbers of the pages that `window` touches."""
    sizes = [n for _, n in pages.planes]
    index = np.arange(prod(sizes)).reshape(sizes)[window.region[: len(sizes)]]
    return index.reshape(-1).tolist()


def stacked(cuts: Sequence[Cut], join: Callable[[list[Array]], Array]) -> Cut:
    """Return one cut for several: `join` makes the pixels of all out of the pixels of each."""
    bounds = np.cumsum([0, *[len(cut.starts) for cut in cuts]]).tolist()

    def pixels(blocks: Sequence[Bytes]) -> Array:
        each = [cut.pixels(blocks[a:b]) for cut, a, b in zip(cuts, bounds, bounds[1:], strict=False)]
        return join(each)

    starts, stops = (np.concatenate([getattr(cut, side) for cut in cuts]) for side in ("starts", "stops"))
    return Cut(starts, stops, pixels)


def _cut_page(page: "TiffPage | TiffFrame", stored: np.dtype[np.generic], window: Window) -> Cut:
    if not page.is_final:
        return _cut_segments(page, window)
    start = page.dataoffsets[0]
    if start < _FIRST_BYTE or sum(page.databytecounts) < page.nbytes:
        raise ValueError(f"its pixels from byte {start:,} on are absent, or its strips too small")
    return cut_run(start, page.shape, stored, "C", window)


def _cut_segments(page: "TiffPage | TiffFrame", window: Window) -> Cut:
    """Return the strips or tiles that a window touches, each to be decoded as a whole."""
    key = cast("TiffPage", page.keyframe)
    region = _normal_region(key, window)
    shape = key.shaped
    tile = (key.tiledepth, key.tilelength, key.tilewidth) if key.is_tiled else (1, key.rowsperstrip, shape[3])
    index = _touched(region[:4], (1, *tile), shape[:4])
    offsets, counts = page.dataoffsets, page.databytecounts
    n_segments = min(len(offsets), len(counts))
    if index[-1] >= n_segments:
        raise ValueError(f"it has {n_segments} strips or tiles, its shape needs more")
    starts = np.array([offsets[i] for i in index], np.int64)
    lengths = np.array([counts[i] for i in index], np.int64)
    absent = np.flatnonzero((starts < _FIRST_BYTE) | (lengths < 1))
    if absent.size:
        at = int(absent[0])
        raise ValueError(f"a strip or tile lies in bytes {starts[at]:,} to {starts[at] + lengths[at]:,}: absent")
    sizes = [wanted.stop - wanted.start for wanted in window.region]

    def pixels(blocks: Sequence[Bytes]) -> Array:
        out = np.empty([wanted.stop - wanted.start for wanted in region], key.dtype)
        for i, block in zip(index, blocks, strict=True):
            _paste(page, i, bytes(block), out, region)
        return out.reshape(sizes)

    return Cut(starts, starts + lengths, pixels)


def _normal_region(key: "TiffPage", window: Window) -> tuple[slice, ...]:
    """Return the window by tifffile's five axes."""
    region = [slice(0, 1)] * 5
    for axis, wanted in zip(key.axes, window.region, strict=True):
        samples = 4 if key.planarconfig == 1 else 0
        region[samples if axis == "S" else 1 + _NORMAL_AXES.index(axis)] = wanted
    return tuple(region)


def _touched(region: Sequence[slice], tile: Sequence[int], shape: Sequence[int]) -> list[int]:
    """Return the numbers of the segments that a region touches, ascending."""
    index = np.zeros((), np.int64)
    for wanted, size, n in zip(region, tile, shape, strict=True):
        along = np.arange(wanted.start // size, -(-wanted.stop // size))
        index = np.add.outer(index * -(-n // size), along)
    return index.reshape(-1).tolist()


def _paste(page: "TiffPage | TiffFrame", number: int, data: bytes, out: Array, region: Sequence[slice]) -> None:
    """Decode strip or tile `number`, and put what it has of `region` into `out`."""
    key = cast("TiffPage", page.keyframe)
    tables: dict[str, Any] = {}
    if key.compression in _JPEG:
        tables = {"jpegtables": page.jpegtables, "jpegheader": key.jpegheader}
    segment, at, _ = key.decode(data, number, **tables)
    if segment is None:
        raise ValueError(f"strip or tile {number} is empty")
    src, dst = [], []
    for wanted, start, n in zip(region[1:4], at[1:4], segment.shape[:3], strict=True):
        low, high = max(wanted.start, start), min(wanted.stop, start + n)
        src.append(slice(low - start, high - start))
        dst.append(slice(low - wanted.start, high - wanted.start))
    out[(at[0] - region[0].start, *dst)] = segment[(*src, region[4])]
