"""Several tiles at one position: placed by their coordinates on one pixel grid, or refused with the reason."""

import numpy as np
import pytest
from smallsets import Bench, plane, tile

from slicedfs import ManifestError


@pytest.fixture
def bench(request):
    """Give files in memory, of this test alone."""
    with Bench(request.node.nodeid) as fresh:
        yield fresh


def at(file, y, x, /, height=2, width=3, px=1.0, **indices):
    """Give a tile whose first pixel is (y, x) on a grid of pixels of `px`."""
    ranges = {"y": [y * px, (y + height) * px], "x": [x * px, (x + width) * px]}
    return {**tile(file, ranges, **indices), "tile_shape": {"y": height, "x": width}}


def test_touching_tiles(bench):
    """Two by two tiles that touch are one plane, with one range of coordinates."""
    bench.put_set([at("a.npy", 0, 0), at("b.npy", 0, 3), at("c.npy", 2, 0), at("d.npy", 2, 3)], {})
    image = bench.open()
    expected = np.block([[plane(0), plane(1)], [plane(2), plane(3)]])
    np.testing.assert_array_equal(image.values, expected)
    assert image.x.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert image.y.values.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert image.encoding["preferred_chunks"] == {"y": 2, "x": 3}
    assert sorted(bench.read) == ["a.npy", "b.npy", "c.npy", "d.npy"]


def test_requests_of_a_crop(bench):
    """A crop across the seam of two tiles asks for these two only."""
    bench.put_set([at("a.npy", 0, 0), at("b.npy", 0, 3), at("c.npy", 2, 0), at("d.npy", 2, 3)], {})
    crop = bench.open().sel(x=slice(2, 4), y=3.5)
    np.testing.assert_array_equal(crop.values, [plane(2)[1, 2], plane(3)[1, 0]])
    assert sorted(bench.read) == ["c.npy", "d.npy"]


def test_scale_and_offset(bench):
    """The grid lies where the coordinates say, in their unit; float noise below 0.01 pixel is no matter."""
    tiles = [at("a.npy", 10, 20, px=0.65), at("b.npy", 10, 23, px=0.65)]
    tiles[1]["coordinates"]["x"][0] += 0.65 * 0.009
    tiles[1]["coordinates"]["x"][1] += 0.65 * 0.009
    bench.put_set(tiles, {})
    image = bench.open()
    np.testing.assert_allclose(image.x, [13.325, 13.975, 14.625, 15.275, 15.925, 16.575], atol=1e-9)
    np.testing.assert_allclose(image.y, [6.825, 7.475], atol=1e-9)
    np.testing.assert_array_equal(image.values, np.hstack([plane(0), plane(1)]))


def test_gaps(bench):
    """Where no tile lies is fill; a position with some tiles has tiles."""
    bench.put_set([at("a.npy", 0, 0, r=0), at("b.npy", 1, 4, r=0)], {"r": 2})
    image = bench.open(fill_value=9)
    expected = np.full((2, 3, 7), 9)
    expected[0, :2, :3], expected[0, 1:, 4:] = plane(0), plane(1)
    np.testing.assert_array_equal(image.values, expected)
    assert image.has_tile.values.tolist() == [True, False]
    bench.fs.clear()
    np.testing.assert_array_equal(image.isel(r=0, x=3).values, [9, 9, 9])
    assert bench.read == []


def test_overlaps(bench):
    """Where tiles overlap, the one listed last shows; one that is hidden is not asked for."""
    bench.put_set([at("a.npy", 0, 0), at("b.npy", 1, 2), at("c.npy", 0, 0, height=1, width=2)], {})
    bench.put(c=plane(2, (1, 2)))
    image = bench.open()
    expected = np.zeros((3, 5), int)
    expected[0:2, 0:3] = plane(0)
    expected[1:3, 2:5] = plane(1)
    expected[0:1, 0:2] = plane(2, (1, 2))
    np.testing.assert_array_equal(image.values, expected)
    assert sorted(bench.read) == ["a.npy", "b.npy", "c.npy"]
    image = bench.open()
    np.testing.assert_array_equal(image.isel(y=0, x=[0, 1]).values, plane(2, (1, 2))[0])
    assert bench.read == ["c.npy"]


def test_tiles_of_different_shape(bench):
    """Tiles of a mosaic may differ in shape; chunks then follow their edges."""
    bench.put_set([at("a.npy", 0, 0), at("b.npy", 0, 3, width=5)], {})
    bench.put(b=plane(1, (2, 5)))
    image = bench.open()
    np.testing.assert_array_equal(image.values, np.hstack([plane(0), plane(1, (2, 5))]))
    assert image.encoding["preferred_chunks"] == {"y": 2, "x": (3, 5)}


def test_one_grid_for_all_positions(bench):
    """Positions with one tile lie on the same grid as those with several."""
    bench.put_set([at("a.npy", 0, 0, r=0), at("b.npy", 0, 3, r=0), at("c.npy", 0, 3, r=1)], {"r": 2})
    image = bench.open()
    np.testing.assert_array_equal(image.isel(r=1).values, np.hstack([plane(2) * 0, plane(2)]))


def test_reversed_axis(bench):
    """Where ranges run from high to low, so do the pixels: the tile with the higher range comes first."""
    left, right = tile("a.npy", {"x": [3, 0], "y": [0, 2]}), tile("b.npy", {"x": [6, 3], "y": [0, 2]})
    bench.put_set([left, right], {})
    image = bench.open()
    assert image.x.values.tolist() == [5.5, 4.5, 3.5, 2.5, 1.5, 0.5]
    np.testing.assert_array_equal(image.values, np.hstack([plane(1), plane(0)]))


def test_centers(bench):
    """With pixel_coords="centers" tiles whose centres are one pixel apart touch."""
    bench.put_set([tile("a.npy", {"x": [0, 2], "y": [0, 1]}), tile("b.npy", {"x": [3, 5], "y": [0, 1]})], {})
    image = bench.open(pixel_coords="centers")
    assert (image.x.values.tolist(), image.y.values.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 1])
    np.testing.assert_array_equal(image.values, np.hstack([plane(0), plane(1)]))


def test_stacks_on_top_of_each_other(bench):
    """Tiles of three dims are placed along z too."""
    ranges = {"x": [0, 3], "y": [0, 2]}
    bench.put(a=plane(0, (2, 2, 3)), b=plane(1, (2, 2, 3)))
    bench.put_set([tile("a.npy", {**ranges, "z": [4, 6]}), tile("b.npy", {**ranges, "z": [6, 8]})], {})
    image = bench.open()
    assert image.z.values.tolist() == [4.5, 5.5, 6.5, 7.5]
    np.testing.assert_array_equal(image.values, np.concatenate([plane(0, (2, 2, 3)), plane(1, (2, 2, 3))]))


REFUSED = {
    "off the grid": (
        [at("a.npy", 0, 0), at("b.npy", 0, 3.02)],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x starts 0\.02 px off the pixel grid of the mosaic \(pixel size 1\), "
        r"at most 0\.01 px is allowed; 1 of 2 tiles do not fit\. ",
    ),
    "another pixel size": (
        [at("a.npy", 0, 0), at("b.npy", 0, 3), tile("c.npy", {"y": [0, 2], "x": [6, 9.3]})],
        r"tiles\[2\] \('c\.npy'\): coordinates\.x gives a pixel size of 1\.1, but the other tiles have 1, .*; "
        r"one mosaic needs one pixel size; 1 of 3 tiles do not fit\. ",
    ),
    "two pixel sizes": (
        [at("a.npy", 0, 0), tile("b.npy", {"y": [0, 2], "x": [3, 6 - 0.0045]})],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x gives a pixel size of 0\.9985, but the other tiles have 1, ",
    ),
    "a point among ranges": (
        [at("a.npy", 0, 0), tile("b.npy", {"y": [0, 2], "x": [3, 3]})],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x gives a pixel size of 0, but the other tiles have 1, ",
    ),
    "points": (
        [tile("a.npy", {"y": [0, 2], "x": 0}), tile("b.npy", {"y": [0, 2], "x": 3})],
        r"tiles\[0\] \('a\.npy'\): coordinates\.x has no width \(0 to 0\), nor has that of any other tile, ",
    ),
    "far away": (
        [at("a.npy", 0, 0), at("b.npy", 0, 3e9), at("c.npy", 0, 5)],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x starts 3e\+09 px from the first tile, at most 134217728 px can be "
        r"opened as one array; 1 of 3 tiles do not fit\. ",
    ),
    "no coordinate": (
        [at("a.npy", 0, 0), tile("b.npy", {"y": [0, 2]})],
        r"tiles\[1\] \('b\.npy'\) is part of a mosaic, but has no coordinate x; 1 of 2 tiles lack it\. Give each tile ",
    ),
    "the same place": (
        [at("a.npy", 0, 0, r=0, c=2), at("b.npy", 0, 3, r=0, c=2), at("d.npy", 0, 0, r=0, c=2)],
        r"tiles\[0\] \('a\.npy'\) and tiles\[2\] \('d\.npy'\) are both at r=0, c=2 with the same coordinates\. ",
    ),
    "the only place": (
        [tile("a.npy"), tile("b.npy")],
        r"tiles\[0\] \('a\.npy'\) and tiles\[1\] \('b\.npy'\) are both at the only position with the same ",
    ),
    "another shape at another position": (
        [{**tile("a.npy", r=0), "tile_shape": [2, 3]}, {**tile("b.npy", r=1), "tile_shape": [3, 2]}],
        r"tiles\[1\] \('b\.npy', r=1\) has shape \(3, 2\), but tiles\[0\] \('a\.npy', r=0\) has \(2, 3\); 1 of 2 ",
    ),
}
"""Tiles, and what the error says first; what it advises may change."""


@pytest.mark.parametrize(("tiles", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(bench, tiles, message):
    """Tiles that form no mosaic are refused when opening; the error names them and says what to do."""
    bench.put_set(tiles, dict.fromkeys(tiles[0]["indices"], 2))
    with pytest.raises(ManifestError, match=rf"^recording://b/set\.json: {message}") as caught:
        bench.open()
    assert caught.value.url == "recording://b/set.json"
