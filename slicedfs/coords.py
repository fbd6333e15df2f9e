"""Physical coordinates of pixels, from the range that a document states. Pure numpy.

Documents state one range an axis and tile, and two readings of it are in the wild (both seen in SpaceTx data): the
range spans the outer edges of the pixels, or it runs from the first pixel's centre to the last's, as starfish reads it.
"""

from math import ceil, floor, log10
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONVENTIONS", "PixelCoords", "pixel_centers", "pixel_size"]

PixelCoords = Literal["edges", "centers"]
_NOISE = 1e-6
"""Steps this close to a power of ten (in decades) count as that power."""
CONVENTIONS: tuple[PixelCoords, ...] = ("edges", "centers")


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
    step = (stop - start) / size_px if size_px else 0.0
    return _rounded(start + (np.arange(size_px) + 0.5) * step, step)


def pixel_size(
    start: NDArray[np.float64], stop: NDArray[np.float64], size_px: NDArray[np.int64], convention: PixelCoords
) -> NDArray[np.float64]:
    """Return the signed width of a pixel for each range; NaN where it is not defined (one pixel between centres)."""
    count = size_px if convention == "edges" else size_px - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        width: NDArray[np.float64] = np.where(count > 0, (stop - start) / count, np.nan)
    return width


def _rounded(values: NDArray[Any], step: float) -> NDArray[np.float64]:
    """Round to the decimal next below 1e-6 of `step`; the decimal must not depend on noise in `step`."""
    if step == 0 or not np.isfinite(step):
        return values
    magnitude = log10(abs(step))
    nearest = round(magnitude)
    exponent = nearest if abs(magnitude - nearest) < _NOISE else floor(magnitude)
    decimals = ceil(6 - exponent)
    return np.round(values, decimals) if decimals < 300 else values  # noqa: PLR2004 - numpy's rounding overflows
