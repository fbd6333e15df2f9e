"""Coordinates of arrays of many tiles: seams, alignment, samples, z; and selecting by them."""

import io
from itertools import pairwise

import numpy as np
import profiles  # noqa: F401 - before the first @given
import pytest
import tifffile
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from smallsets import Bench, plane, tile, tile_set

from slicedfs.layout.coords import pixel_centers


@pytest.fixture
def bench(request):
    """Give files in memory, of this test alone."""
    with Bench(request.node.nodeid) as fresh:
        yield fresh


def fields_of_view(bench, x_ends, y_ends, shape=(4, 5)):
    """Put a 2 x 2 grid of fields of view, each a tile set of two rounds; return the pixels of the whole."""
    whole = np.zeros((2, 2 * shape[0], 2 * shape[1]), np.uint16)
    contents = {}
    for number, (row, column) in enumerate(np.ndindex(2, 2)):
        entries = []
        for r in (0, 1):
            pixels = plane(10 * number + r, shape)
            bench.put(**{f"t{number}{r}": pixels})
            ranges = {"xc": x_ends[column], "yc": y_ends[row], "zc": [0, 0.1]}
            entries.append(tile(f"t{number}{r}.npy", ranges, r=r))
            rows = slice(row * shape[0], (row + 1) * shape[0])
            whole[r, rows, column * shape[1] : (column + 1) * shape[1]] = pixels
        bench.put(**{f"f{number}": tile_set(entries, {"r": 2})})
        contents[f"fov_{number:03}"] = f"f{number}.json"
    bench.put(root={"version": "0.0.0", "contents": contents})
    return whole


# seams


def test_touching_fields_of_view(bench):
    """Fields of view whose ranges touch are one array without a seam: no gap, no column twice, even steps."""
    ends = [[0, 0.1], [0.1, 0.2]]
    whole = fields_of_view(bench, ends, [[5.0, 5.4], [5.4, 5.8]])
    image = bench.open("root.json", mosaic=True)
    np.testing.assert_array_equal(image.sel(z=0.05).values, whole)
    np.testing.assert_array_equal(image.xc, [0.01, 0.03, 0.05, 0.07, 0.09, 0.11, 0.13, 0.15, 0.17, 0.19])
    np.testing.assert_array_equal(image.yc, [5.05, 5.15, 5.25, 5.35, 5.45, 5.55, 5.65, 5.75])
    assert image.xc.to_index().is_unique
    assert "has_tile" not in image.coords
    across = image.sel(xc=slice(0.08, 0.12), r=1, z=0.05)
    assert across.xc.values.tolist() == [0.09, 0.11]
    np.testing.assert_array_equal(across.values, whole[1, :, 4:6])
    bench.fs.clear()
    image.sel(xc=slice(0.08, 0.12), r=1, z=0.05).isel(y=0).load()
    assert sorted(bench.read) == ["t01.npy", "t11.npy"]


def test_touching_fields_of_view_with_noise(bench):
    """The same where ends were computed with float noise: the labels are equal to the bit."""
    fields_of_view(bench, [[0, 0.3 - 0.2], [0.1 * 3 - 0.2, 0.1 + 0.1]], [[5.0, 5.4], [5.4 + 1e-12, 5.8 - 1e-12]])
    image = bench.open("root.json", mosaic=True)
    np.testing.assert_array_equal(image.xc, [0.01, 0.03, 0.05, 0.07, 0.09, 0.11, 0.13, 0.15, 0.17, 0.19])
    np.testing.assert_array_equal(image.yc, [5.05, 5.15, 5.25, 5.35, 5.45, 5.55, 5.65, 5.75])


def test_fields_of_view_between_centres(bench):
    """Under "centers", fields of view whose first centre is one step after the last of the one before touch."""
    whole = fields_of_view(bench, [[0, 4], [5, 9]], [[0, 3], [4, 7]])
    image = bench.open("root.json", mosaic=True, pixel_coords="centers")
    np.testing.assert_array_equal(image.isel(z=0).values, whole)
    np.testing.assert_array_equal(image.xc, np.linspace(0, 9, 10))


ends = st.floats(-1e5, 1e5)


@given(ends, ends, st.integers(1, 40), st.integers(1, 40))
def test_one_field_of_view_as_starfish_reads_it(x0, x1, width, height):
    """Under "centers" the labels of one field of view are numpy.linspace(x0, x1, n), bit for bit, in any direction."""
    with Bench("linspace") as bench:
        bench.put(a=plane(0, (height, width)))
        bench.put_set([tile("a.npy", {"xc": [x0, x1], "yc": [x1, x0]}, r=0)], {"r": 1})
        image = bench.open(pixel_coords="centers")
    for name, start, stop, size in (("xc", x0, x1, width), ("yc", x1, x0, height)):
        np.testing.assert_array_equal(image[name].values, np.linspace(start, stop, size))


# alignment


@st.composite
def same_ranges(draw):
    """Give a size, and one range of decimal ends computed in several ways."""
    size = draw(st.integers(1, 3000))
    unit = 10.0 ** draw(st.integers(-6, 2))
    start, step = draw(st.integers(-(10**6), 10**6)) * unit, draw(st.integers(1, 10**4)) * unit
    ways = [
        (start, start + step * size),
        (start, start + float(np.sum(np.full(size, step)))),
        (float(np.nextafter(start, np.inf)), float(np.nextafter(start + step * size, -np.inf))),
        ((start + 7 * step) - 7 * step, (start - step) + step * (size + 1)),
    ]
    return size, ways


@given(same_ranges())
def test_labels_do_not_depend_on_noise(drawn):
    """Ranges with decimal ends, computed in any way, give labels that are equal to the bit."""
    size, ways = drawn
    first, *others = [pixel_centers(start, stop, size, "edges") for start, stop in ways]
    for other in others:
        np.testing.assert_array_equal(other, first)


@pytest.mark.parametrize("step", [0.65, 0.1083, 1 / 3])
def test_documents_that_cut_one_field_differently_align(bench, step):
    """One field in one tile, in a mosaic of four, and in one of nine of unequal size: sums need no tolerance."""
    side = 36
    pixels = np.arange(side * side, dtype=np.uint16).reshape(side, side)
    opened = []
    for name, cuts in (("one", [0, 36]), ("four", [0, 18, 36]), ("nine", [0, 7, 29, 36])):
        entries = []
        boxes = list(pairwise(cuts))
        for (a, b), (c, d) in ((rows, columns) for rows in boxes for columns in boxes):
            file = f"{name}{a}_{c}"
            bench.put(**{file: pixels[a:b, c:d]})
            ranges = {"y": [100 + a * step, 100 + b * step], "x": [-7.1 + c * step, -7.1 + (c + (d - c)) * step]}
            entries.append({**tile(f"{file}.npy", ranges), "tile_shape": [b - a, d - c]})
        bench.put(**{name: tile_set(entries, {})})
        opened.append(bench.open(f"{name}.json"))
    first, *others = opened
    for other in others:
        assert first.x.to_index().equals(other.x.to_index())
        assert (first.astype(int) - other.astype(int)).shape == (side, side)
        xr.testing.assert_equal(first.drop_attrs(), other.drop_attrs())


# ranges that are none


def test_dummy_ranges(bench):
    """A dummy range that all tiles share is read like any other."""
    entries = [tile(f"{r}.npy", {"xc": [0, 0.0001], "yc": [0, 0.0001]}, r=r) for r in (0, 1)]
    bench.put_set(entries, {"r": 2})
    image = bench.open()
    np.testing.assert_allclose(image.xc, np.array([1, 3, 5]) * 0.0001 / 6, rtol=1e-6)
    assert image.sel(xc=0.00005, method="nearest").x == 1


def test_reversed_and_plain_ranges_disagree(bench):
    """Tiles that state one range in two directions disagree; the ends are told from low to high."""
    bench.put_set([tile("a.npy", {"xc": [3, 0]}, r=0), tile("b.npy", {"xc": [0, 3]}, r=1)], {"r": 2})
    image = bench.open()
    assert "xc" not in image.coords
    assert (image.xc_min.values.tolist(), image.xc_max.values.tolist()) == ([0, 0], [3, 3])
    assert image.where(image.xc_min == 0, drop=True).sizes["r"] == 2


def test_z_and_zc(bench):
    """Where a document states both z and zc, zc is the place of the planes, and z is kept beside it."""
    entries = [tile(f"{z}.npy", {"z": 10 + z, "zc": [z, z + 1]}, z=z) for z in (0, 1)]
    bench.put_set(entries, {"z": 2})
    image = bench.open()
    assert image.zc.values.tolist() == [0.5, 1.5]
    assert (image.z_min.dims, image.z_min.values.tolist()) == (("z",), [10, 11])


def test_planes_whose_place_some_tiles_lack(bench):
    """A plane lies where those of its tiles that say so put it; one that no tile places is NaN."""
    places = {(0, 0): {"zc": [2, 3]}, (1, 0): {}, (0, 1): {}, (1, 1): {}}
    bench.put_set([tile(f"{r}{z}.npy", at, r=r, z=z) for (r, z), at in places.items()], {"r": 2, "z": 2})
    np.testing.assert_array_equal(bench.open().zc.values, [2.5, np.nan])


def test_midpoints_with_noise(bench):
    """Midpoints that differ by noise are one plane, and its label has no noise."""
    places = [[0.1, 0.2], [0.2, 0.1], [0.3 - 0.2, 0.1 + 0.1], [0.4, 0.5]]
    bench.put_set([tile(f"{i}.npy", {"zc": at}, r=i) for i, at in enumerate(places)], {"r": 4})
    image = bench.open()
    assert image.z.values.tolist() == [0.15, 0.45]
    np.testing.assert_array_equal(image.sel(z=0.45, r=3).values, plane(3))


# has_tile


def test_has_tile_of_a_stack(bench):
    """has_tile of a stack is over the new dim too."""
    for name, rounds in (("a", (0, 2)), ("b", (1,))):
        bench.put(**{name: tile_set([tile(f"t{r}.npy", r=r) for r in rounds], {"r": 3})})
    bench.put(
        **{f"t{r}": plane(r) for r in range(3)}, root={"version": "0.1.0", "contents": {"A": "a.json", "B": "b.json"}}
    )
    image = bench.open("root.json", stack="fov", fill_value=7)
    assert image.has_tile.dims == ("fov", "r")
    assert image.has_tile.values.tolist() == [[True, False, True], [False, True, False]]
    assert (image.sel(fov="B", r=0) == 7).all()
    assert image.isel(fov=0).where(image.isel(fov=0).has_tile, drop=True).r.values.tolist() == [0, 2]


def test_has_tile_of_a_mosaic_across_documents(bench):
    """A position of a mosaic has a tile where any document has one."""
    entry = {"y": [0, 2], "x": [0, 3]}
    bench.put(a=tile_set([tile("t0.npy", entry, r=0)], {"r": 3}), b=tile_set([tile("t1.npy", entry, r=2)], {"r": 3}))
    bench.put(t0=plane(0), t1=plane(1), root={"version": "0.1.0", "contents": {"A": "a.json", "B": "b.json"}})
    image = bench.open("root.json", mosaic=True)
    assert image.has_tile.values.tolist() == [True, False, True]
    np.testing.assert_array_equal(image.values, [plane(0), plane(0) * 0, plane(1)])


# samples, planar files, axes of one element


def tiff(pixels, **options):
    """Give a TIFF file as tifffile writes it."""
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


@pytest.mark.parametrize("planar", [False, True], ids=["by pixel", "by plane"])
@pytest.mark.parametrize("stated", [False, True], ids=["shape from the header", "shape stated"])
def test_rgb_mosaic(bench, planar, stated):
    """RGB tiles form a mosaic with the samples as the last dim s, however the file stores them."""
    colours = [np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3) + i for i in range(2)]
    for number, pixels in enumerate(colours):
        stored = pixels.transpose(2, 0, 1) if planar else pixels
        how = "separate" if planar else "contig"
        bench.fs.files[f"b/t{number}.tif"] = tiff(stored, photometric="rgb", planarconfig=how)
    entries = [tile(f"t{i}.tif", {"x": [50 * i, 50 * i + 50], "y": [0, 40]}, r=0) for i in range(2)]
    bench.put_set(entries, {"r": 1}, **({"default_tile_shape": {"y": 40, "x": 50}} if stated else {}))
    image = bench.open()
    assert (image.dims, image.shape) == (("r", "y", "x", "s"), (1, 40, 100, 3))
    assert image.s.values.tolist() == [0, 1, 2]
    expected = np.concatenate(colours, axis=1)[None]
    np.testing.assert_array_equal(image.isel(s=[2, 0]).values, expected[..., [2, 0]])
    np.testing.assert_array_equal(image.sel(x=slice(49, 51), s=1).values, expected[:, :, 49:51, 1])
    np.testing.assert_array_equal(image.transpose("s", ...).isel(x=60).values, expected.transpose(3, 0, 1, 2)[..., 60])


def test_rgb_stack(bench):
    """RGB tile sets stack along a new dim."""
    pixels = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
    bench.fs.files["b/t.tif"] = tiff(pixels, photometric="rgb")
    bench.put(a=tile_set([tile("t.tif")], {}), root={"version": "0.1.0", "contents": {"A": "a.json", "B": "a.json"}})
    image = bench.open("root.json", stack="fov")
    assert (image.dims, image.shape) == (("fov", "y", "x", "s"), (2, 40, 50, 3))
    np.testing.assert_array_equal(image.sel(fov="B").values, pixels)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 2, 3), (2, 3, 1), (2, 1, 3)])
def test_axes_of_one_element(bench, shape):
    """Axes of one element in a file are dropped where the document states y and x."""
    pixels = [plane(i).reshape(shape) for i in range(2)]
    bench.put(a=pixels[0], b=pixels[1])
    entries = [tile(f"{name}.npy", {"x": [3 * i, 3 * i + 3], "y": [0, 2]}) for i, name in enumerate("ab")]
    bench.put_set(entries, {}, default_tile_shape={"y": 2, "x": 3})
    image = bench.open()
    np.testing.assert_array_equal(image.values, np.hstack([plane(0), plane(1)]))


# selecting


def test_selections_on_a_stack_of_mosaics(bench):
    """Labels, slices and nearest neighbours select on an array of documents, rounds, planes and tiles."""
    expected = np.zeros((2, 2, 2, 4, 6), np.uint16)
    for fov in range(2):
        entries = []
        for number, (r, z, row, column) in enumerate(np.ndindex(2, 2, 2, 2)):
            name = f"t{fov}_{number}"
            bench.put(**{name: plane(20 * fov + number)})
            ranges = {"yc": [row, row + 1], "xc": [10 + 3 * column, 13 + 3 * column], "zc": [z, z + 0.5]}
            entries.append(tile(f"{name}.npy", ranges, r=4 + 3 * r, z=z))
            expected[fov, r, z, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3] = plane(20 * fov + number)
        bench.put(**{f"f{fov}": tile_set(entries, {"r": 2, "z": 2})})
    bench.put(root={"version": "0.1.0", "contents": {"left": "f0.json", "right": "f1.json"}})
    image = bench.open("root.json", stack="fov")
    assert image.dims == ("fov", "r", "z", "y", "x")
    np.testing.assert_array_equal(image.sel(fov="right", r=7, z=1).values, expected[1, 1, 1])
    np.testing.assert_array_equal(image.sel(fov=["right", "left"], zc=1.25).values, expected[::-1, :, 1])
    np.testing.assert_array_equal(image.sel(xc=slice(12, 14)).values, expected[..., 2:4])
    np.testing.assert_array_equal(image.sel(yc=0.9, method="nearest").values, expected[..., 2 - 1, :])
    np.testing.assert_array_equal(image.sel(xc=[10.4, 15.6], method="nearest").values, expected[..., [0, 5]])
    points = {"yc": xr.DataArray([0.25, 1.75], dims="p"), "xc": xr.DataArray([10.5, 15.5], dims="p")}
    np.testing.assert_array_equal(image.sel(points).values, expected[..., [0, 3], [0, 5]])
    with pytest.raises(KeyError, match="not all values found in index 'r'"):
        image.sel(r=5)
    bench.fs.clear()
    image.sel(fov="left", r=4, z=0, xc=slice(10, 12), yc=slice(0, 1)).load()
    assert bench.read == ["t0_0.npy"]
