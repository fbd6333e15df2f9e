"""Dims, labels and coordinates of an opened tile set: every expected value is written out."""

import numpy as np
import pytest
import xarray as xr
from smallsets import Bench, plane, tile

from slicedfs import ManifestError, ManifestWarning, open_dataarray


@pytest.fixture
def bench(request):
    """Give files in memory, of this test alone."""
    with Bench(request.node.nodeid) as fresh:
        yield fresh


def coords(array):
    """Give name -> (dims, values) of all coordinates."""
    return {str(name): (coord.dims, coord.values.tolist()) for name, coord in array.coords.items()}


# dims and labels


def test_labels_need_not_count_from_zero(bench):
    """Labels that do not all lie in range(count) are the axis, sorted, in whatever order the tiles come."""
    bench.put_set([tile("a.npy", r=5, c=2), tile("b.npy", r=3, c=2)], {"r": 2, "c": 1})
    image = bench.open()
    assert image.dims == ("r", "c", "y", "x")
    assert (image.r.values.tolist(), image.c.values.tolist()) == ([3, 5], [2])
    np.testing.assert_array_equal(image.sel(r=5, c=2).values, plane(0))
    np.testing.assert_array_equal(image.sel(r=3, c=2).values, plane(1))
    assert "has_tile" not in image.coords


def test_labels_within_the_count(bench):
    """Labels that all lie in range(count) leave the axis at range(count); what no tile has is fill."""
    bench.put_set([tile("a.npy", r=3), tile("b.npy", r=1)], {"r": 4})
    image = bench.open()
    assert image.r.values.tolist() == [0, 1, 2, 3]
    assert coords(image)["has_tile"] == (("r",), [False, True, False, True])
    expected = np.stack([plane(0) * 0, plane(1), plane(0) * 0, plane(0)])
    np.testing.assert_array_equal(image.values, expected)
    assert sorted(bench.read) == ["a.npy", "b.npy"]


def test_more_labels_than_counted(bench):
    """More labels than the count: a warning, and the labels seen."""
    bench.put_set([tile("a.npy", r=0), tile("b.npy", r=4), tile("c.npy", r=9)], {"r": 2})
    message = r"b/set\.json: shape\.r is 2, but the tiles have 3 labels \(0, 4, 9\)\. The labels win\.$"
    with pytest.warns(ManifestWarning, match=message):
        image = bench.open()
    assert image.r.values.tolist() == [0, 4, 9]


def test_a_dim_that_only_tiles_have(bench):
    """An index that `shape` does not count is a dim all the same, with a warning."""
    bench.put_set([tile("a.npy", r=0, t=4), tile("b.npy", r=0, t=6)], {"r": 1})
    with pytest.warns(ManifestWarning, match=r"the indices \['t'\], which `shape` does not count"):
        image = bench.open()
    assert image.dims == ("r", "t", "y", "x")
    assert image.t.values.tolist() == [4, 6]


def test_order_of_dims(bench):
    """The order is r and c, other index dims as in `shape`, z, y, x, whatever `dimensions` says."""
    counts = {"z": 1, "hyb": 1, "c": 2, "assay": 1, "r": 1}
    tiles = [tile(f"{c}.npy", hyb=0, z=0, c=c, r=0, assay=0) for c in (0, 1)]
    bench.put_set(tiles, counts, dimensions=["x", "c", "y", "r", "assay", "z", "hyb"])
    assert bench.open().dims == ("r", "c", "hyb", "assay", "z", "y", "x")


def test_no_index_dims(bench):
    """One tile without any index is an image of y and x, with pixel numbers as coordinates."""
    bench.put_set([tile("a.npy")], {})
    image = bench.open()
    assert (image.dims, coords(image)) == (("y", "x"), {"y": (("y",), [0, 1]), "x": (("x",), [0, 1, 2])})
    np.testing.assert_array_equal(image.values, plane(0))


# z: an index, a coordinate only, inside the tiles


def test_z_as_index(bench):
    """Where z is an index, its labels are the axis, and the middles of the ranges the coordinate zc."""
    bench.put_set([tile("a.npy", {"zc": [2, 3]}, z=0), tile("b.npy", {"zc": 4.5}, z=1)], {"z": 2})
    image = bench.open()
    assert coords(image)["z"] == (("z",), [0, 1])
    assert coords(image)["zc"] == (("z",), [2.5, 4.5])
    np.testing.assert_array_equal(image.sel(zc=4.5).values, plane(1))


def test_z_as_index_that_tiles_place_differently(bench):
    """Where tiles of one plane disagree on where it is, zc_min and zc_max tell it tile by tile."""
    places = {(0, 0): [0, 1], (0, 1): [1, 2], (1, 0): [0.5, 1.5], (1, 1): [1.5, 2.5]}
    bench.put_set([tile(f"{r}{z}.npy", {"z": at}, r=r, z=z) for (r, z), at in places.items()], {"r": 2, "z": 2})
    image = bench.open()
    assert "zc" not in image.coords
    assert coords(image)["zc_min"] == (("r", "z"), [[0.0, 1.0], [0.5, 1.5]])
    assert coords(image)["zc_max"] == (("r", "z"), [[1.0, 2.0], [1.5, 2.5]])


@pytest.mark.parametrize("name", ["z", "zc"])
def test_z_as_coordinate_only(bench, name):
    """Where z is only a coordinate, its distinct middles, ascending, are the axis z."""
    tiles = [tile("a.npy", {name: [4, 6]}, r=0), tile("b.npy", {name: 1.5}, r=0), tile("c.npy", {name: [5, 5]}, r=1)]
    bench.put_set(tiles, {"r": 2}, extras={"slicedfs": {"units": {name: "um"}}})
    image = bench.open()
    assert image.dims == ("r", "z", "y", "x")
    assert {name for name in coords(image) if name.startswith("z")} == {"z"}
    assert image.z.values.tolist() == [1.5, 5.0]
    assert image.z.attrs == {"axis": "Z", "units": "um"}
    assert image.has_tile.values.tolist() == [[True, True], [False, True]]
    np.testing.assert_array_equal(image.sel(r=1, z=5.0).values, plane(2))


def test_z_as_coordinate_that_a_tile_lacks(bench):
    """A tile without the coordinate that makes the axis is refused."""
    bench.put_set([tile("a.npy", {"z": 1}, r=0), tile("b.npy", r=1)], {"r": 2})
    with pytest.raises(
        ManifestError, match=r"tiles\[1\]\.coordinates has no z, but other tiles do, and z is not an index"
    ):
        bench.open()


@pytest.mark.parametrize("counts", [{"r": 1}, {"r": 1, "z": 4}], ids=["z not counted", "z counted"])
def test_z_inside_tiles(bench, counts):
    """Tiles of three dims give the axis z; that z is counted too, without labels, does no harm."""
    bench.put(a=plane(0, (4, 2, 3)))
    bench.put_set([tile("a.npy", {"zc": [10, 12]}, r=0)], counts)
    image = bench.open()
    assert (image.dims, image.shape) == (("r", "z", "y", "x"), (1, 4, 2, 3))
    assert coords(image)["z"] == (("z",), [0, 1, 2, 3])
    assert coords(image)["zc"] == (("z",), [10.25, 10.75, 11.25, 11.75])
    np.testing.assert_array_equal(image.sel(zc=slice(10.5, 11.5)).values[0], plane(0, (4, 2, 3))[1:3])


def test_z_both_ways(bench):
    """Planes inside the tiles and z labels that tell tiles apart contradict each other."""
    bench.put(a=plane(0, (4, 2, 3)), b=plane(1, (4, 2, 3)))
    bench.put_set([tile("a.npy", z=0), tile("b.npy", z=1)], {"z": 2})
    with pytest.raises(
        ManifestError, match=r"z is an index of the tiles, but their files also hold several z planes"
    ) as e:
        bench.open()
    assert e.value.pointer == "tiles[1].indices.z"


# coordinates along x and y


def test_plain_names(bench):
    """Ranges called x and y become the labels of the dims x and y: the centres of the pixels."""
    bench.put_set([tile("a.npy", {"x": [10, 16], "y": [0, 1]}, r=0)], {"r": 1})
    image = bench.open()
    assert coords(image) == {"r": (("r",), [0]), "y": (("y",), [0.25, 0.75]), "x": (("x",), [11.0, 13.0, 15.0])}
    assert sorted(image.xindexes) == ["r", "x", "y"]
    np.testing.assert_array_equal(image.sel(x=slice(12, 16), y=0.75).values[0], plane(0)[1, 1:])


def test_names_of_spacetx(bench):
    """Ranges called xc and yc are coordinates beside pixel numbers, and indexed, so that ranges can be selected."""
    bench.put_set([tile("a.npy", {"xc": [10, 16], "yc": [0, 1]}, r=0)], {"r": 1})
    image = bench.open()
    assert coords(image) == {
        "r": (("r",), [0]),
        "y": (("y",), [0, 1]),
        "yc": (("y",), [0.25, 0.75]),
        "x": (("x",), [0, 1, 2]),
        "xc": (("x",), [11.0, 13.0, 15.0]),
    }
    assert sorted(image.xindexes) == ["r", "x", "xc", "y", "yc"]
    np.testing.assert_array_equal(image.sel(xc=slice(12, 16)).values[0], plane(0)[:, 1:])
    np.testing.assert_array_equal(image.sel(x=1, yc=0.9, method="nearest").values[0], plane(0)[1, 1])


def test_centers(bench):
    """pixel_coords="centers" reads ranges as starfish does: numpy.linspace, both ends included; z is the middle."""
    bench.put_set([tile("a.npy", {"xc": [0.1, 0.7], "yc": [0, 1], "zc": [2, 3]}, z=0)], {"z": 1})
    image = bench.open(pixel_coords="centers")
    assert image.xc.values.tolist() == np.linspace(0.1, 0.7, 3).tolist()
    assert (image.yc.values.tolist(), image.zc.values.tolist()) == ([0.0, 1.0], [2.5])


def test_reversed_range(bench):
    """A reversed range is kept: coordinates descend, and slices are taken from high to low."""
    bench.put_set([tile("a.npy", {"x": [6, 0]})], {})
    image = bench.open()
    assert image.x.values.tolist() == [5.0, 3.0, 1.0]
    np.testing.assert_array_equal(image.sel(x=slice(4, 0)).values, plane(0)[:, 1:])


def test_zero_width(bench):
    """A point instead of a range gives no labels: the dim gets pixel numbers, the point stays beside them."""
    bench.put_set([tile("a.npy", {"x": [4, 4], "yc": 2})], {})
    image = bench.open()
    assert coords(image) == {
        "y": (("y",), [0, 1]),
        "yc": (("y",), [2.0, 2.0]),
        "x": (("x",), [0, 1, 2]),
        "x_min": ((), 4.0),
        "x_max": ((), 4.0),
    }
    assert sorted(image.xindexes) == ["x", "y"]


def test_one_pixel(bench):
    """A tile of one pixel keeps its label, of a range as of a point."""
    bench.put(a=plane(0, (1, 1)))
    bench.put_set([tile("a.npy", {"x": [4, 5], "y": 3})], {})
    assert coords(bench.open()) == {"y": (("y",), [3.0]), "x": (("x",), [4.5])}


def test_disagreeing_ranges(bench):
    """Where tiles disagree, the ends of each tile's range lie over the index dims, NaN where there is no tile."""
    places = {(0, 0): [0, 3], (0, 1): [0, 3], (1, 0): [1, 4]}
    tiles = [tile(f"{r}{c}.npy", {"xc": at, "yc": [0, 1]}, r=r, c=c) for (r, c), at in places.items()]
    bench.put_set(tiles, {"r": 2, "c": 2})
    image = bench.open()
    assert image.yc.values.tolist() == [0.25, 0.75]
    assert "xc" not in image.coords
    np.testing.assert_array_equal(image.xc_min, [[0, 0], [1, np.nan]])
    np.testing.assert_array_equal(image.xc_max, [[3, 3], [4, np.nan]])
    assert (image.xc_min.dims, image.x.values.tolist()) == (("r", "c"), [0, 1, 2])


def test_float_noise_is_no_disagreement(bench):
    """Ranges that differ by less than a millionth of a pixel agree."""
    bench.put_set([tile("a.npy", {"x": [0, 3]}, r=0), tile("b.npy", {"x": [1e-9, 3 - 1e-9]}, r=1)], {"r": 2})
    assert bench.open().x.values.tolist() == [0.5, 1.5, 2.5]


def test_a_range_that_some_tiles_lack(bench):
    """A range that some tiles do not state is no label of the axis."""
    bench.put_set([tile("a.npy", {"x": [0, 3]}, r=0), tile("b.npy", r=1)], {"r": 2})
    image = bench.open()
    np.testing.assert_array_equal(image.x_min, [0, np.nan])
    assert image.x.values.tolist() == [0, 1, 2]


def test_coordinates_of_other_names(bench):
    """A coordinate that is none of x, y and z is kept, tile by tile."""
    bench.put_set([tile("a.npy", {"time": [0, 2]}, r=0), tile("b.npy", {"time": 5}, r=1)], {"r": 2})
    found = coords(bench.open())
    assert (found["time_min"], found["time_max"]) == ((("r",), [0.0, 5.0]), (("r",), [2.0, 5.0]))


def test_units(bench):
    """Units that slicedfs wrote become attributes of the coordinates."""
    entry = tile("a.npy", {"xc": [0, 3], "yc": [0, 2], "zc": 1}, z=0)
    bench.put_set([entry], {"z": 1}, extras={"slicedfs": {"units": {"xc": "um", "zc": "mm"}}})
    image = bench.open()
    assert (image.xc.attrs, image.yc.attrs) == ({"axis": "X", "units": "um"}, {"axis": "Y"})
    assert image.zc.attrs == {"axis": "Z", "units": "mm"}


# attributes and encoding


def test_extras_and_unknown_keys(bench):
    """Extras and keys that the format does not define are attributes; slicedfs's own hints are not."""
    extras = {"a": [1, None], "slicedfs": {"units": {}}}
    bench.put_set([tile("a.npy")], {}, extras=extras, microscope={"na": 1.4})
    dataset = bench.dataset()
    assert dataset.attrs == dataset.image.attrs == {"a": [1, None], "microscope": {"na": 1.4}}


@pytest.mark.parametrize("extras", ["text", [1, 2], 3.5, True])
def test_extras_of_any_type(bench, extras):
    """Extras that are no object stand under their own name."""
    bench.put_set([tile("a.npy")], {}, extras=extras)
    assert bench.dataset().attrs == {"extras": extras}


def test_encoding(bench):
    """The encoding says where the array is from, its dtype, and the tiles as preferred chunks."""
    bench.put_set([tile("a.npy", r=0), tile("b.npy", r=1)], {"r": 2})
    dataset = bench.dataset()
    assert dataset.encoding == {"source": "recording://b/set.json"}
    assert dataset.image.encoding == {"preferred_chunks": {"r": 1, "y": 2, "x": 3}, "dtype": np.dtype("uint16")}
    assert bench.dataset(chunks={}).image.chunks == ((1, 1), (2,), (3,))


def test_open_dataarray(bench):
    """slicedfs.open_dataarray gives the variable "image" of xarray.open_dataset, with chunks where asked for."""
    bench.put_set([tile("a.npy", {"x": [0, 3]}, r=0), tile("b.npy", {"x": [0, 3]}, r=1)], {"r": 2})
    array = open_dataarray(bench.url(), storage_options=bench.options)
    xr.testing.assert_identical(array, bench.dataset().image)
    assert (array.name, array.chunks) == ("image", None)
    chunked = open_dataarray(bench.url(), storage_options=bench.options, chunks={"r": 2})
    assert chunked.chunks == ((2,), (2,), (3,))


def test_empty_tile_set(bench):
    """A tile set without tiles has no array, and says so."""
    bench.put_set([], {"r": 1})
    message = r"b/set\.json: tiles is empty, so there is no array\. Look at the node with slicedfs\.open\(\)\.$"
    with pytest.raises(ManifestError, match=message) as caught:
        bench.open()
    assert caught.value.pointer == "tiles"
