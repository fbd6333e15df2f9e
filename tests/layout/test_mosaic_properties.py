"""Whatever the tiles, in whatever order and place: the array is what pasting them one by one with numpy gives."""

import numpy as np
import profiles  # noqa: F401 - before the first @given
from chains import chains, in_library, in_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from mosaics import World, cases

from slicedfs.lazy import unwrap

several = settings(max_examples=settings.default.max_examples * 3 // 2)


@several
@given(st.data(), cases())
def test_any_image_set(data, case):
    """Dims, dtype and the pixels of any selection are numpy's, and exactly the tiles that show in it are read."""
    world = World("any", case)
    image = world.open()
    assert (image.dims, image.shape, image.dtype) == (case.dims, world.pixels.shape, np.dtype("uint16"))
    pixels, owners = world.pixels, world.owners
    array = unwrap(image.variable._data)
    for step in data.draw(chains(pixels.shape)):
        array = in_library(array, step)
        pixels, owners = np.asarray(in_numpy(pixels, step)), np.asarray(in_numpy(owners, step))
    assert world.read == set()
    values = array.read()
    assert (values.shape, values.dtype) == (pixels.shape, np.dtype("uint16"))
    np.testing.assert_array_equal(values, pixels)
    assert world.read == {world.file(number) for number in np.unique(owners).tolist() if number >= 0}


@several
@given(cases())
def test_coordinates_of_any_image_set(case):
    """Every dim has its labels, every range its coordinate, has_tile says where tiles are; none of it costs a read."""
    world = World("coordinates", case)
    image = world.open()
    expected = {}
    if case.combine == "stack":
        expected["fov"] = (("fov",), world.names)
    for number, axis in enumerate(case.index):
        expected[axis.dim] = ((axis.dim,), world.labels(number))
    if case.z_is_label and case.z_planes:
        (number,) = (i for i, axis in enumerate(case.index) if axis.dim == "z")
        seen = world.axes[number].values()
        planes = [np.mean(plane) if at in seen else np.nan for at, plane in enumerate(case.z_planes)]
        expected["zc"] = (("z",), planes)
    for axis, dim in enumerate(case.image_dims):
        expected |= along(world, axis, dim)
    if world.has_tile.ndim and not world.has_tile.all():
        expected["has_tile"] = (case.dims[: world.has_tile.ndim], world.has_tile)
    assert set(image.coords) == set(expected)
    for name, (dims, values) in expected.items():
        assert image[name].dims == dims
        if np.asarray(values).dtype.kind in "US":
            assert image[name].values.tolist() == values
        else:
            noise = 1e-3 * max(map(abs, case.widths))
            np.testing.assert_allclose(image[name].values, values, rtol=0, atol=noise)
    assert world.read == set()


def along(world, axis, dim):
    """Return the coordinates along an image axis."""
    case = world.case
    size = world.pixels.shape[case.dims.index(dim)]
    name = f"{dim}{case.suffix}"
    whole = {dim: ((dim,), np.arange(size))}
    if not case.placed[axis]:
        return whole
    bases = {case.bases[piece.member][axis] for piece in case.pieces}
    first = next(iter(bases)) + case.widths[axis] * world.low[axis]
    half = 0.5 if case.convention == "edges" else 0.0
    labels = first + case.widths[axis] * (np.arange(size) + half)
    if len(bases) == 1:
        return whole | {name: ((dim,), labels)}
    lows, highs = np.full((2, *world.has_tile.shape), np.nan)
    for piece in case.pieces:
        at = (world.names.index(f"m{piece.member}"), *world.place(piece))
        ends = world.ranges(piece, axis)
        lows[at], highs[at] = np.fmin(lows[at], min(ends)), np.fmax(highs[at], max(ends))
    dims = case.dims[: lows.ndim]
    return whole | {f"{name}_min": (dims, lows), f"{name}_max": (dims, highs)}
