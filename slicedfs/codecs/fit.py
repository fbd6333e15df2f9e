"""A file's axes against the document's: which are dropped, moved, named, and what is a contradiction. Pure.

In order:

1. Samples go last: a planar TIFF (s, y, x) becomes (y, x, s), unless the document states z, equal to the number
   of planes: imageio writes stacks of three or four uint8 planes as one planar RGB page.
2. Axes of one element that the document does not state are dropped; a stated z of 1 is added.
3. Unnamed axes (NPY) are (y, x), (z, y, x) or (z, y, x, s), or (y, x, s) where the document says so.
4. At most one axis besides y, x and s has more than one element; it is z, whatever the file calls it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from slicedfs.codecs.tile import UNKNOWN_SIZE, UNNAMED, Array, TileHeader, TileRequest
from slicedfs.errors import CodecError

__all__ = ["Arrangement", "arrange", "fit", "fit_header", "refuse_surplus"]

_ORDER = ("z", "y", "x", "s")
_BY_COUNT = {2: ("y", "x"), 3: ("z", "y", "x"), 4: _ORDER}
_SAMPLES = range(2, 5)  # how many values an axis may have to be samples, where nothing names it


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How to bring an array into the order z, y, x, s: transpose, then reshape."""

    axes: tuple[int, ...]
    shape: tuple[int, ...]
    dims: tuple[str, ...]


def fit_header(header: TileHeader, request: TileRequest) -> TileHeader:
    """Return `header` with the axes that the tile has as the document sees it, in the order z, y, x, s.

    Raises
    ------
    CodecError
        The file's shape contradicts the stated one, or has no such reading.
    """
    header = _with_known_planes(header, request)
    arrangement = arrange(header.shape, header.dims, request)
    return TileHeader(arrangement.shape, arrangement.dims, header.dtype)


def fit(array: Array, dims: tuple[str, ...], request: TileRequest, wanted: tuple[str, ...] | None = None) -> Array:
    """Return a view of `array`, whose axes are `dims`, with the axes `wanted`.

    None: the axes that :func:`fit_header` gives. An axis that the tile lacks is added with one element, one of
    one element that is not wanted is dropped.

    Raises
    ------
    CodecError
        The array's shape contradicts the stated one, or it has other axes than those wanted.
    """
    arrangement = arrange(array.shape, dims, request)
    array = array.transpose(arrangement.axes).reshape(arrangement.shape)
    if wanted is None or wanted == arrangement.dims:
        return array
    return _with_axes(array, arrangement.dims, wanted, request)


def _with_axes(array: Array, dims: tuple[str, ...], wanted: tuple[str, ...], request: TileRequest) -> Array:
    refuse_surplus(array.shape, dims, wanted, request)
    surplus = [axis for axis, dim in enumerate(dims) if dim not in wanted]
    kept = [dim for dim in dims if dim in wanted]
    array = array.squeeze(tuple(surplus)).transpose([kept.index(dim) for dim in wanted if dim in kept])
    sizes = iter(array.shape)
    return array.reshape([next(sizes) if dim in kept else 1 for dim in wanted])


def refuse_surplus(
    shape: tuple[int, ...], dims: tuple[str, ...], wanted: tuple[str, ...], request: TileRequest
) -> None:
    """Refuse axes of more than one element that are not `wanted`.

    Raises
    ------
    CodecError
        There are such axes.
    """
    if any(n != 1 and dim not in wanted for n, dim in zip(shape, dims, strict=True)):
        raise CodecError(
            f"{request.url}: has shape {_text(shape, dims)}, but the tiles of this set have the axes "
            f"({', '.join(wanted)}). Put tiles of other axes into a tile set of their own.",
            url=request.url,
            value=shape,
        )


def _with_known_planes(header: TileHeader, request: TileRequest) -> TileHeader:
    if UNKNOWN_SIZE not in header.shape:
        return header
    planes = (request.shape or {}).get("z")
    if planes is None:
        raise CodecError(
            f"{request.url}: has too many planes to count them in its header, and the document does not state z. "
            f"State z in tile_shape.",
            url=request.url,
        )
    return replace(header, shape=tuple(planes if n == UNKNOWN_SIZE else n for n in header.shape))


def arrange(shape: tuple[int, ...], dims: tuple[str, ...], request: TileRequest) -> Arrangement:
    """Return how an array with the axes `dims` of a file becomes what the document states.

    Raises
    ------
    CodecError
        The shape contradicts the stated one, or has no such reading.
    """
    stated = None if request.shape is None else _stated(request.shape, request)
    found = _find(shape, dims, stated)
    if found is not None:
        return found
    if stated is None:
        raise CodecError(
            f"{request.url}: has shape {_text(shape, dims)}, but a tile has y, x, at most one further axis z, and "
            f"samples. Write one file per plane or stack.",
            url=request.url,
            value=shape,
        )
    raise _contradiction(shape, dims, stated, request)


def _stated(shape: Mapping[str, int], request: TileRequest) -> dict[str, int]:
    if not {"y", "x"} <= set(shape) <= set(_ORDER):
        raise CodecError(
            f"{request.url}: tile_shape must state y and x, and may state z, got {dict(shape)}. Fix tile_shape in "
            f"the document.",
            url=request.url,
            value=dict(shape),
        )
    return {dim: int(shape[dim]) for dim in _ORDER if dim in shape}


def _find(shape: tuple[int, ...], dims: tuple[str, ...], stated: Mapping[str, int] | None) -> Arrangement | None:
    """Return the first arrangement that agrees with the document; None where there is none."""
    if stated is not None and _is_planar(dims) and "s" not in stated:
        stack = _matched(shape, tuple("z" if dim == "s" else dim for dim in dims), stated)
        if stack is not None:
            return Arrangement(tuple(range(len(shape))), *stack)
    axes = tuple(sorted(range(len(shape)), key=lambda axis: dims[axis] == "s"))  # stable: s last
    shape, dims = tuple(shape[axis] for axis in axes), tuple(dims[axis] for axis in axes)
    found = _named(shape, dims) if stated is None else _matched(shape, dims, stated)
    return None if found is None else Arrangement(axes, *found)


def _is_planar(dims: tuple[str, ...]) -> bool:
    return "s" in dims and dims.index("s") < dims.index("y")


_Found = tuple[tuple[int, ...], tuple[str, ...]] | None


def _named(shape: tuple[int, ...], dims: tuple[str, ...]) -> _Found:
    """Name the axes where the document states nothing."""
    if UNNAMED in dims:
        if not (len(shape) == len(_ORDER) and shape[-1] in _SAMPLES):
            shape = _without_ones(shape)
        dims = _BY_COUNT.get(len(shape), ())
    sizes = dict(zip(dims, shape, strict=False))
    leading = [n for n, dim in zip(shape, dims, strict=False) if dim not in ("y", "x", "s") and n != 1]
    if len(leading) > 1 or not dims:
        return None
    kept = {"z": leading[0]} if leading else {}
    kept |= {"y": sizes["y"], "x": sizes["x"]}
    if sizes.get("s", 1) != 1:
        kept["s"] = sizes["s"]
    return tuple(kept.values()), tuple(kept)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop axes of one element, the first ones first, down to two axes."""
    kept = list(shape)
    while len(kept) > 2 and 1 in kept:  # noqa: PLR2004  (y, x)
        kept.remove(1)
    return tuple(kept)


def _matched(shape: tuple[int, ...], dims: tuple[str, ...], stated: Mapping[str, int]) -> _Found:
    """Name the axes as the document does; None where the sizes differ."""
    target = tuple(stated.values())
    samples = shape[-1] if _has_samples(shape, dims, stated) else 1
    if samples == 1:
        return (target, tuple(stated)) if _reduces(shape, stated) else None
    return ((*target, samples), (*stated, "s")) if _reduces(shape[:-1], stated) else None


def _has_samples(shape: tuple[int, ...], dims: tuple[str, ...], stated: Mapping[str, int]) -> bool:
    """Return whether the last axis is samples of which the document does not know."""
    if "s" in stated or "s" in dims:
        return "s" not in stated
    if _reduces(shape, stated):
        return False
    return shape[-1] in _SAMPLES or (UNNAMED in dims and len(shape) == len(_ORDER))


def _reduces(shape: tuple[int, ...], stated: Mapping[str, int]) -> bool:
    """Return whether dropping axes of one element from `shape` gives the stated sizes.

    A stated z or s of 1 may be absent from `shape`.
    """
    sizes = tuple(stated.values())
    needed = tuple(n for dim, n in stated.items() if dim in ("y", "x") or n != 1)
    return _drops_to(shape, sizes) or _drops_to(shape, needed)


def _drops_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    remaining = list(target)
    for n in shape:
        if remaining and remaining[0] == n:
            del remaining[0]
        elif n != 1:
            return False
    return not remaining


def _contradiction(
    shape: tuple[int, ...], dims: tuple[str, ...], stated: Mapping[str, int], request: TileRequest
) -> CodecError:
    swapped = {**stated, "y": stated["x"], "x": stated["y"]}
    transposed = "; it looks transposed" if _find(shape, dims, swapped) is not None else ""
    names = _names(shape, dims)
    sizes = tuple(stated.values())
    told = str(sizes) if names == tuple(stated) else _text(sizes, tuple(stated))
    return CodecError(
        f"{request.url}: has shape {_text(shape, dims)}, but the document states {told}{transposed}. "
        f"Fix tile_shape in the document, or the file.",
        url=request.url,
        value=shape,
    )


def _names(shape: tuple[int, ...], dims: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names to show; () where there are none."""
    if UNNAMED in dims or not dims:
        return _BY_COUNT.get(len(shape), ())
    others = [dim for dim in dims if dim not in ("y", "x", "s")]
    return tuple("z" if dim in others else dim for dim in dims) if len(others) == 1 else dims


def _text(shape: tuple[int, ...], dims: tuple[str, ...]) -> str:
    names = _names(shape, dims)
    return f"{shape} ({', '.join(names)})" if names else str(shape)
