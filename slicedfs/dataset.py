"""An opened tile set as an xarray Dataset with one variable, "image"."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slicedfs.array import SlicedArray
from slicedfs.layout.labelled import Coordinate, coordinates
from slicedfs.model import Document
from slicedfs.source import TileSource
from slicedfs.url import redact

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["IMAGE", "attributes", "build_dataset"]

Chunks = dict[str, int | tuple[int, ...]]

IMAGE = "image"
"""Name of the data variable."""


def build_dataset(source: TileSource) -> "xr.Dataset":
    """Return the lazy Dataset of `source`: no pixel is read.

    Returns
    -------
    xarray.Dataset
        With the variable "image", a coordinate on every dim, and ``encoding`` preferred_chunks (the tile grid).
    """
    import xarray as xr

    from slicedfs.lazy import wrap

    placement = source.placement
    attrs = attributes(source.document)
    chunks = _preferred_chunks(source)
    encoding = {"preferred_chunks": chunks, "dtype": source.dtype}
    image = xr.Variable(placement.dims, wrap(SlicedArray.whole(source)), attrs, encoding)
    found = coordinates(source.document, placement, source.ref.options.pixel_coords)
    dataset = xr.Dataset({IMAGE: image}, coords=_xarray_coordinates(found, chunks), attrs=attrs)
    dataset.encoding["source"] = redact(source.document.url)
    return dataset


def attributes(document: Document) -> dict[str, Any]:
    """Return what becomes ``attrs``: extras and unknown keys, without slicedfs's own hints."""
    extras = document.extras
    if isinstance(extras, Mapping):
        attrs = {str(key): value for key, value in extras.items() if key != "slicedfs"}
    else:
        attrs = {} if extras is None else {"extras": extras}
    codebook = getattr(document, "codebook", None)
    return {**document.unknown, **attrs, **({} if codebook is None else {"codebook": codebook})}


def _xarray_coordinates(found: list[Coordinate], chunks: Chunks) -> "xr.Coordinates":
    """Build indexes only for what is indexed; the dims' own are left to xarray, which may be asked to make none.

    Coordinates have the chunks of the image, because a Dataset whose variables differ has no ``.chunks``.
    """
    import pandas as pd
    import xarray as xr
    from xarray.indexes import PandasIndex

    variables: dict[str, Any] = {
        c.name: xr.Variable(c.dims, c.values, dict(c.attrs), {"preferred_chunks": {d: chunks[d] for d in c.dims}})
        for c in found
    }
    indexes = {}
    for c in found:
        if c.indexed and c.dims != (c.name,):
            index = PandasIndex(pd.Index(c.values, name=c.name), c.dims[0])
            indexes[c.name] = index
            variables |= index.create_variables({c.name: variables[c.name]})
    return xr.Coordinates(variables, indexes=indexes)


def _preferred_chunks(source: TileSource) -> Chunks:
    """Return the tile grid: 1 along index dims, the tiles' edges along image dims."""
    placement = source.placement
    chunks: Chunks = {axis.dim: 1 for axis in placement.axes}
    shapes = placement.tile_shapes
    # Where all tiles have one shape it is one row, shown n times.
    usual = np.median(shapes if shapes.strides[0] else shapes[:1], axis=0).astype(int).tolist()
    for axis, (dim, edges) in enumerate(zip(placement.image_dims, placement.lattice.edges, strict=True)):
        sizes = np.diff(edges).tolist()
        even = all(size == sizes[0] for size in sizes[:-1]) and sizes[-1] <= sizes[0]
        if not placement.lattice.one_cell_each:
            chunks[dim] = usual[axis]  # tiles at any offset: no grid is true, so one as coarse as they are
        else:
            chunks[dim] = sizes[0] if even else tuple(sizes)
    return chunks
