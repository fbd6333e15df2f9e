"""A region in the document's axes, as a window in the file's axes, and the pixels back. Pure.

The rules are those of fit.py: what a whole tile is arranged to, a part of it is too.
"""

from dataclasses import dataclass
from functools import lru_cache

from slicedfs.codecs.fit import arrange, refuse_surplus
from slicedfs.codecs.parts import Window
from slicedfs.codecs.tile import Array, TileHeader, TileRequest
from slicedfs.errors import CodecError

__all__ = ["Fitted", "fit_region"]


@dataclass(frozen=True, slots=True)
class _Axes:
    """The axes wanted, against those of the file."""

    sources: tuple[int | None, ...]
    """The file's axis for each axis wanted; None: it has one element, and is added."""
    order: tuple[int, ...]
    """The file's axes in the order wanted, those of one element that are dropped behind them."""
    dims: tuple[str, ...]
    """The document's name for each axis of the file; "" where it has one element."""
    sizes: tuple[int, ...]
    """Size of each axis wanted."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A region of a tile, by the axes of its file."""

    window: Window
    """What of the file is wanted."""
    _order: tuple[int, ...]
    _shape: tuple[int, ...]

    def fit(self, array: Array) -> Array:
        """Return a view of `array`, the pixels of the window, with the axes that are wanted."""
        return array.transpose(self._order).reshape(self._shape)


def fit_region(header: TileHeader, request: TileRequest, dims: tuple[str, ...], region: tuple[slice, ...]) -> Fitted:
    """Return where a region with the axes `dims` lies in a file with this `header`.

    Raises
    ------
    CodecError
        The file's shape contradicts the stated one; it has other axes than `dims`; the region leaves the tile.
    """
    stated = None if request.shape is None else tuple(request.shape.items())
    try:
        axes = _axes(header.shape, header.dims, stated, dims)
    except CodecError:
        axes = _find_axes(header.shape, header.dims, request, dims)  # raises again, with the URL
    shape = tuple([wanted.stop - wanted.start for wanted in region])
    for wanted, size in zip(region, axes.sizes, strict=True):
        if wanted.step not in (None, 1) or not 0 <= wanted.start < wanted.stop <= size:
            raise CodecError(
                f"{request.url}: has shape {axes.sizes} ({', '.join(dims)}), and no pixels in "
                f"{', '.join([f'{s.start}:{s.stop}' for s in region])}. State tile_shape in the document.",
                url=request.url,
                value=header.shape,
            )
    of_file = [slice(0, 1)] * len(header.shape)
    for source, wanted in zip(axes.sources, region, strict=True):
        if source is not None:
            of_file[source] = wanted
    return Fitted(Window(tuple(of_file), axes.dims), axes.order, shape)


@lru_cache(maxsize=256)  # the tiles of a set are alike
def _axes(
    shape: tuple[int, ...], dims: tuple[str, ...], stated: tuple[tuple[str, int], ...] | None, wanted: tuple[str, ...]
) -> _Axes:
    return _find_axes(shape, dims, TileRequest("", shape=None if stated is None else dict(stated)), wanted)


def _find_axes(shape: tuple[int, ...], dims: tuple[str, ...], request: TileRequest, wanted: tuple[str, ...]) -> _Axes:
    found = arrange(shape, dims, request)
    refuse_surplus(found.shape, found.dims, wanted, request)
    of_file = [axis for axis in found.axes if shape[axis] != 1]  # an arrangement only drops and adds axes of one
    named = [dim for dim, n in zip(found.dims, found.shape, strict=True) if n != 1]
    source = dict(zip(named, of_file, strict=True))
    names = {axis: dim for dim, axis in source.items()}
    order = [source[dim] for dim in wanted if dim in source]
    sizes = dict(zip(found.dims, found.shape, strict=True))
    return _Axes(
        tuple([source.get(dim) for dim in wanted]),
        (*order, *[axis for axis in range(len(shape)) if axis not in order]),
        tuple([names.get(axis, "") for axis in range(len(shape))]),
        tuple([sizes.get(dim, 1) for dim in wanted]),
    )
