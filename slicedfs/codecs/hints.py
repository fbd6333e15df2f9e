"""What a document may say of the layout of its tiles, so that it is known without a request. Pure."""

from typing import Any

import numpy as np

from slicedfs.codecs.tile import TileHeader

__all__ = ["hint_of_run", "without_ones"]


def hint_of_run(offset: int, header: TileHeader, dtype: np.dtype[np.generic], order: str) -> dict[str, Any] | None:
    """Return the hint for an array in one run of bytes; None where the stated shape of a tile does not tell its axes.

    Samples need not be stated in a document, so a hint cannot stand for a file that has some. The shape is told
    where the file has more than a plane.
    """
    shape = without_ones(header.shape)
    if any(n != 1 and dim == "s" for dim, n in zip(header.dims, header.shape, strict=True)) or len(shape) > 3:  # noqa: PLR2004  (z, y, x)
        return None
    hint: dict[str, Any] = {"kind": "raw", "offset": offset, "dtype": dtype.str, "order": order}
    return hint if len(shape) <= 2 else hint | {"shape": list(shape)}  # noqa: PLR2004  (y, x)


def without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes that are not 1."""
    return tuple([n for n in shape if n != 1])
