"""Physical coordinates of pixels from the ranges that a document states, and back. Pure numpy.

Documents state one range an axis and tile, and two readings of it are in the wild (both seen in SpaceTx data): the
range spans the outer edges of the pixels, or it runs from the first pixel's centre to the last's, as starfish reads it.
"""

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CONVENTIONS",
    "MAX_LENGTH_PX",
    "OFF_GRID_PX",
    "Fit",
    "PixelCoords",
    "Ranges",
    "fit_ranges",
    "pixel_centers",
    "pixel_size",
    "rounded_midpoints",
]

PixelCoords = Literal["edges", "centers"]
_NOISE = 1e-6
"""Steps this close to a power of ten (in decades) count as that power."""
_ROUNDED_STEPS = (1e-200, 1e200)
"""Labels are rounded for steps between these; numpy's rounding overflows beyond."""
CONVENTIONS: tuple[PixelCoords, ...] = ("edges", "centers")
OFF_GRID_PX = 0.01
"""Tiles of a mosaic may lie off the pixel grid by this much, in pixels."""
MAX_LENGTH_PX = 2**27
"""Mosaics longer than this along an axis are refused: even their coordinates would fill the memory."""
_WIDTH_TOLERANCE = 1e-3
_MAX_DECIMALS = 9
"""Ranges with more decimals do not count as rounded."""
_ROUNDED_UNITS = 0.75
"""How far from the fitted grid rounding may put an end, in units of the last decimal: half a unit, and a margin."""
_OUTLIER_PX = 0.1
_REACH_FACTOR = 8


def pixel_centers(start: float, stop: float, size_px: int, convention: PixelCoords) -> NDArray[np.float64]:
    """Return the coordinate of each of `size_px` pixels on the range `start` to `stop`.

    Parameters
    ----------
    start, stop
        The range as written; reversed and zero-width ranges are legal.
    size_px
        Number of pixels, >= 0.
    convention
        "edges": pixel i is at start + (i + 0.5)(stop - start)/n, rounded to 1e-6 pixel, so that documents whose ranges
        differ by float noise get equal labels. "centers": ``numpy.linspace(start, stop, n)`` bit for bit.

    Returns
    -------
    numpy.ndarray
        (size_px,) float64.
    """
    if convention == "centers":
        return np.linspace(start, stop, size_px)
    decimals = _decimals((stop - start) / max(size_px, 1))
    if decimals is None:
        along = (np.arange(size_px) + 0.5) / max(size_px, 1)
        return start * (1 - along) + stop * along  # the difference of the two may overflow
    start, stop = round(start, decimals), round(stop, decimals)  # noise ends here, before it can tip over any label
    return np.round(start + (np.arange(size_px) + 0.5) * ((stop - start) / max(size_px, 1)), decimals)


def pixel_size(
    start: NDArray[np.float64], stop: NDArray[np.float64], size_px: NDArray[np.int64], convention: PixelCoords
) -> NDArray[np.float64]:
    """Return the signed width of a pixel for each range; NaN where it is not defined (one pixel between centres)."""
    count = size_px if convention == "edges" else size_px - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        width: NDArray[np.float64] = np.where(count > 0, (stop - start) / count, np.nan)
    return width


def rounded_midpoints(middles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round the midpoints of z ranges to 12 digits, counted from the largest: planes that differ by noise are one."""
    finite = np.abs(middles[np.isfinite(middles)])
    decimals = _decimals(float(finite.max(initial=0.0)) * _NOISE)
    return middles if decimals is None else np.round(middles, decimals) + 0.0  # no -0.0


def _decimals(step: float) -> int | None:
    """Return how many decimals keep 1e-6 of `step`; it must not depend on noise in `step`. None: do not round."""
    if not _ROUNDED_STEPS[0] < abs(step) < _ROUNDED_STEPS[1]:
        return None
    magnitude = log10(abs(step))
    nearest = round(magnitude)
    exponent = nearest if abs(magnitude - nearest) < _NOISE else floor(magnitude)
    return ceil(6 - exponent)


@dataclass(frozen=True, slots=True, eq=False)
class Ranges:
    """The ranges that n tiles state along one axis, and their sizes."""

    start: NDArray[np.float64]
    """(n,) as written."""
    stop: NDArray[np.float64]
    """(n,) as written."""
    sizes: NDArray[np.int64]
    """(n,) in pixels."""
    part: NDArray[np.int64]
    """(n,) which array each tile belongs to, from 0: several where documents are stacked, each beginning at pixel 0."""

    @property
    def is_constant(self) -> bool:
        """True where all tiles state one range, of any width, and have one size."""
        return all(bool((column == column[0]).all()) for column in (self.start, self.stop, self.sizes))

    def steps(self, convention: PixelCoords) -> NDArray[np.int64]:
        """Return how many pixel widths each range spans."""
        return self.sizes if convention == "edges" else self.sizes - 1


Fault = Literal["", "width", "size", "far", "offset"]
"""Why tiles lie on no common grid: no width is known, pixel sizes differ, a tile is too far away or between pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How tiles lie on the best pixel grid along one axis."""

    origins: NDArray[np.int64]
    """(n,): first pixel of each tile; each part begins at 0. Without meaning where there is a fault."""
    bases: NDArray[np.float64]
    """(parts,): where each part begins; of "centers", the centre of its first pixel."""
    width: float
    """Of a pixel, signed; 0 where it is not known."""
    off_px: NDArray[np.float64]
    """(n,): by how much each tile misses the grid; 0 where it fits."""
    fault: Fault = ""
    """What is wrong with the tiles that do not fit; "" where all do."""
    worst_px: float = 0.0
    """By how much the worst of the tiles that fit lies beside the grid."""


def fit_ranges(ranges: Ranges, convention: PixelCoords) -> Fit:
    """Find the grid of pixels on which tiles lie, and those that do not lie on it.

    Strictly first: the pixel size that the tiles state themselves (to 1e-3), starts within 0.01 px. Over thousands of
    pixels that size is too coarse where coordinates were rounded to a few decimals. If they look rounded, the grid is
    fitted to both ends of all tiles instead, and holds if rounding alone explains what is left, at most 0.01 px.
    """
    zeros = np.zeros(len(ranges.sizes), np.int64)
    steps = ranges.steps(convention)
    extents = np.where(steps > 0, ranges.stop - ranges.start, 0.0)  # one pixel between centres: linspace takes start
    if ranges.is_constant:
        bases = np.full(int(ranges.part.max()) + 1, ranges.start[0])
        return Fit(zeros, bases, float(extents[0] / max(steps[0], 1)), zeros.astype(np.float64))
    usual = _usual_width(ranges, convention)
    if usual is None:
        return Fit(zeros, np.zeros(1), 0.0, np.full(len(zeros), np.inf), "width")
    misfit = np.abs(extents / usual - steps)
    odd = misfit > steps * _WIDTH_TOLERANCE
    if odd.any():
        odd &= misfit > min(_unit(ranges) / abs(usual), 2 * OFF_GRID_PX)
    if odd.any():
        return Fit(zeros, np.zeros(1), usual, np.where(odd, misfit, 0.0), "size")
    width = float(extents.sum() / steps.sum()) if steps.any() else usual
    fit = _nearest(ranges, width)
    if fit.fault == "offset" or (not fit.fault and fit.worst_px > _NOISE):
        return _refined(ranges, steps, width) or fit
    return fit


def _usual_width(ranges: Ranges, convention: PixelCoords) -> float | None:
    """Return the pixel width that most tiles state, signed; None where none states one."""
    widths = pixel_size(ranges.start, ranges.stop, ranges.sizes, convention)
    known = np.sort(widths[np.isfinite(widths) & (widths != 0)])
    if len(known):
        return float(known[len(known) // 2])  # one that occurs, where a median of two would lie between them
    if ranges.steps(convention).any():
        return None
    gaps = np.diff(np.unique(ranges.start))  # single pixels, each known by its centre: the closest two are neighbours
    gaps = gaps[gaps > OFF_GRID_PX * gaps.max(initial=0)]
    return float(gaps.min()) if len(gaps) else None


def _nearest(ranges: Ranges, width: float) -> Fit:
    """Lay tiles on the grid of pixels of `width` that fits most of them."""
    bases = _firsts(ranges, width)
    with np.errstate(over="ignore"):
        exact = (ranges.start - bases[ranges.part]) / width
    far = exact > MAX_LENGTH_PX
    if far.any():
        return Fit(np.zeros(len(exact), np.int64), bases, width, np.where(far, exact, 0.0), "far")
    fraction = exact % 1
    bins = np.rint(fraction / OFF_GRID_PX).astype(np.int64) % round(1 / OFF_GRID_PX)
    exact -= fraction[np.bincount(bins)[bins].argmax()]  # of equally many, the tile listed first
    origins = np.rint(exact).astype(np.int64)
    off = np.abs(exact - origins)
    odd = off > OFF_GRID_PX
    fault: Fault = "offset" if odd.any() else ""
    return Fit(_from_zero(ranges, origins), bases, width, np.where(odd, off, 0.0), fault, float(off.max()))


def _firsts(ranges: Ranges, width: float) -> NDArray[np.float64]:
    """Return where each part begins."""
    bases = np.full(int(ranges.part.max()) + 1, np.inf * np.sign(width))
    (np.minimum if width > 0 else np.maximum).at(bases, ranges.part, ranges.start)
    return bases


def _from_zero(ranges: Ranges, origins: NDArray[np.int64]) -> NDArray[np.int64]:
    """Shift `origins` so that each part begins at pixel 0."""
    first = np.full(int(ranges.part.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, ranges.part, origins)
    shifted: NDArray[np.int64] = origins - first[ranges.part]
    return shifted


def _unit(ranges: Ranges) -> float:
    """Return the unit of the last decimal that the ranges have; 0 where they do not look rounded."""
    values = np.concatenate([ranges.start, ranges.stop])
    noise = 1e-14 * float(np.abs(values).max())
    for decimals in range(_MAX_DECIMALS + 1):
        if (np.abs(values - np.round(values, decimals)) <= noise).all():
            return float(10.0**-decimals)
    return 0.0


def _refined(ranges: Ranges, steps: NDArray[np.int64], width: float) -> Fit | None:
    """Lay tiles whose ranges were rounded on a grid fitted to all ends; None where rounding explains no misfit."""
    tolerance_px = min(_ROUNDED_UNITS * _unit(ranges) / abs(width), OFF_GRID_PX)
    if not tolerance_px:
        return None
    bases = _firsts(ranges, width)
    start = (ranges.start - bases[ranges.part]) / width
    stop = start + np.where(steps > 0, (ranges.stop - ranges.start) / width, 0.0)
    origins, scales = np.zeros(len(start), np.int64), []
    for part in range(len(bases)):
        of = ranges.part == part
        found = _fitted(start[of], stop[of], steps[of], tolerance_px)
        if found is None:
            return None
        origins[of], shift, scale = found
        bases[part] += shift * width
        scales.append(scale)
    return Fit(_from_zero(ranges, origins), bases, width * float(np.mean(scales)), np.zeros(len(start)))


def _fitted(
    start: NDArray[np.float64], stop: NDArray[np.float64], steps: NDArray[np.int64], tolerance_px: float
) -> tuple[NDArray[np.int64], float, float] | None:
    """Return the first pixel of each tile on the grid fitted to all ends, and the grid's shift and scale.

    Ends are in pixels of about the right size, from 0. None where an end is off by more than `tolerance_px`. The fit
    grows from the first tiles outward, so that it always knows which pixel is meant.
    """
    shift, scale, reach = 0.0, 1.0, float(_REACH_FACTOR * max(np.median(steps), 1))
    while True:
        near = start <= reach
        pixels = np.rint((start[near] - shift) / scale)
        pixels, ends = np.concatenate([pixels, pixels + steps[near]]), np.concatenate([start[near], stop[near]])
        good = np.abs(ends - shift - scale * pixels) <= _OUTLIER_PX
        if not good.any() or np.ptp(pixels[good]) == 0:
            return None
        scale, shift = np.polyfit(pixels[good], ends[good], 1).tolist()
        if reach >= start.max():
            break
        reach *= _REACH_FACTOR
    left = ends - shift - scale * pixels
    middle = (left.max() + left.min()) / 2
    if np.abs(left - middle).max() > tolerance_px or abs(scale - 1) > _WIDTH_TOLERANCE:
        return None
    return pixels[: len(start)].astype(np.int64), shift + middle, scale
