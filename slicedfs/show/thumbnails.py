"""A few tiles, small: as an array, and as a strip of pictures in notebooks."""

import base64
import io
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicedfs.array import SlicedArray
from slicedfs.show.summary import plain
from slicedfs.source import TileSource
from slicedfs.store import gather, in_thread

__all__ = ["Thumbnails", "read_thumbnails"]

_CONTRAST = (1.0, 99.8)
"""Percentiles that become black and white."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Thumbnails:
    """Small pictures of some tiles; ``numpy.asarray`` gives the pixels, notebooks show them side by side."""

    pixels: NDArray[np.uint8]
    """(n, h, w), or (n, h, w, 3) of colours; smaller pictures are padded with 0 at the bottom and the right."""
    labels: tuple[str, ...]
    """Labels of the n tiles, as "r=1, c=2"."""

    def __len__(self) -> int:
        return len(self.labels)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - numpy's protocol
        return np.array(self.pixels, dtype, copy=copy)

    def __repr__(self) -> str:
        return f"<Thumbnails of {len(self)} tiles, {' x '.join(map(str, self.pixels.shape[1:3]))} px>"

    def _repr_html_(self) -> str:
        from PIL import Image

        figures = []
        for picture, label in zip(self.pixels, self.labels, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "PNG")
            data = base64.b64encode(buffer.getvalue()).decode("ascii")
            caption = escape(plain(label))
            figures.append(
                '<figure style="display: inline-block; margin: 4px">'
                f'<img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
            )
        return f"<div>{''.join(figures)}</div>"


async def read_thumbnails(source: TileSource, count: int, size_px: int) -> Thumbnails:
    """Read `count` tiles, spread over the tile set, whole and concurrently; on the I/O loop only.

    Raises
    ------
    ValueError
        If `count` or `size_px` is not an integer >= 1.
    MissingTileError, StoreError, ChecksumError, CodecError, UrlPolicyError
    """
    _refuse_below_one("n", count)
    _refuse_below_one("size_px", size_px)
    listed = len(source.document.tiles)
    chosen = sorted({listed * i // count for i in range(count)})
    whole = SlicedArray.whole(source)
    planes = await gather(whole.outer(_key(source, tile, size_px)).read_async() for tile in chosen)
    pictures = [await in_thread(_picture, plane, "s" in source.placement.image_dims) for plane in planes]
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    pixels = np.zeros((len(pictures), height, width, *pictures[0].shape[2:]), np.uint8)
    for place, picture in zip(pixels, pictures, strict=True):
        place[: picture.shape[0], : picture.shape[1]] = picture
    return Thumbnails(pixels, tuple(source.document.where(tile) for tile in chosen))


def _refuse_below_one(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")


def _key(source: TileSource, tile: int, size_px: int) -> list[Any]:
    """Return where the pixels of `tile` lie in the array: of a stack the middle plane, of y and x every nth pixel."""
    placement = source.placement
    key: list[Any] = [int(axis.positions[tile]) for axis in placement.axes]
    origins = placement.lattice.origins
    for axis, dim in enumerate(placement.image_dims):
        start = 0 if origins is None else int(origins[tile, axis])
        length = int(placement.tile_shapes[tile, axis])
        if dim == "z":
            key.append(start + length // 2)
        else:
            step = -(-length // size_px) if dim in ("y", "x") else 1
            key.append(slice(start, start + length, step))
    return key


def _picture(plane: NDArray[Any], has_samples: bool) -> NDArray[np.uint8]:  # noqa: FBT001 - called by in_thread
    """Stretch (y, x) or (y, x, s) to 0 … 255; of samples the first three, or the first."""
    if has_samples:
        plane = plane[..., :3] if plane.shape[-1] >= 3 else plane[..., 0]  # noqa: PLR2004
    values = np.abs(plane) if plane.dtype.kind == "c" else plane
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, _CONTRAST) if finite.size else (0.0, 0.0)
    if not high > low:
        return np.zeros(values.shape, np.uint8)
    stretched = np.nan_to_num((values - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    picture: NDArray[np.uint8] = np.round(np.clip(stretched, 0.0, 1.0) * 255).astype(np.uint8)
    return picture
