"""Which tiles form one array and which do not: what is tolerated, and what the refusal says."""

import numpy as np
import profiles  # noqa: F401 - before the first @given
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smallsets import Bench, plane, tile

from slicedfs import ManifestError
from slicedfs.layout.coords import Ranges, fit_ranges


@pytest.fixture
def bench(request):
    """Give files in memory, of this test alone."""
    with Bench(request.node.nodeid) as fresh:
        yield fresh


def at(file, x, /, y=0, width=3, height=2, **indices):
    """Give a tile on a grid of pixels of 1, at any place."""
    entry = tile(file, {"y": [y, y + height], "x": [x, x + width]}, **indices)
    return {**entry, "tile_shape": {"y": height, "x": width}}


def between(file, first, last, /, width=3, **indices):
    """Give a tile whose x runs from the first pixel's centre to the last's."""
    return {**tile(file, {"y": [0, 1], "x": [first, last]}, **indices), "tile_shape": {"y": 2, "x": width}}


def fit(start, stop, sizes, convention="edges"):
    """Fit the ranges of tiles of one document."""
    sizes = np.asarray(sizes)
    return fit_ranges(Ranges(np.asarray(start, float), np.asarray(stop, float), sizes, sizes * 0), convention)


CENTERS_FIT = r"pixel_coords='centers' fits all tiles: pass it, or correct the coordinates\.$"
NO_BETTER = (
    r"pixel_coords='{}' fits no better\. Correct the coordinates, or put the tiles into other tile sets\.$".format
)

REFUSED = {
    "off the grid": (
        [at("a.npy", 0, r=0), at("b.npy", 3.02, r=0), at("c.npy", 6, r=0)],
        r"tiles\[1\] \('b\.npy', r=0\): coordinates\.x starts 0\.02 px off the pixel grid of the mosaic \(pixel size "
        rf"1\), at most 0\.01 px is allowed; 1 of 3 tiles do not fit\. {NO_BETTER('centers')}",
    ),
    "the first of them off the grid": (
        [at("a.npy", -0.3), at("b.npy", 3), at("c.npy", 6), at("d.npy", 9)],
        r"tiles\[0\] \('a\.npy'\): coordinates\.x starts 0\.3 px off .*; 1 of 4 tiles do not fit\. ",
    ),
    "several off the grid": (
        [at(f"{i}.npy", 3 * i + off) for i, off in enumerate([0, 0, 0.1, 0.4, 0, 0.2, 0.3, 0.15, 0])],
        r"tiles\[3\] \('3\.npy'\): coordinates\.x starts 0\.4 px off .*; 5 of 9 tiles do not fit \(also tiles\[2\] "
        r"\('2\.npy'\) by 0\.1 px, tiles\[5\] \('5\.npy'\) by 0\.2 px, tiles\[6\] \('6\.npy'\) by 0\.3 px, …\)\. ",
    ),
    "off the grid, but not between centres": (
        [between("a.npy", 0, 2), between("b.npy", 2.5, 4.5), between("c.npy", 3, 5)],
        r"tiles\[2\] \('c\.npy'\): coordinates\.x starts 0\.5 px off the pixel grid of the mosaic \(pixel size "
        r"0\.666667\), at most 0\.01 px is allowed; 2 of 3 tiles do not fit \(also tiles\[1\] \('b\.npy'\) by "
        r"0\.25 px\)\. pixel_coords='centers' fits better, but not 1 of them\. Correct the coordinates, or put the "
        r"tiles into other tile sets\.$",
    ),
    "between centres, touching": (
        [between(f"{i}.npy", 3 * i, 3 * i + 2) for i in range(3)],
        rf"tiles\[1\] .* starts 0\.5 px off .* 1 of 3 tiles do not fit\. {CENTERS_FIT}",
    ),
    "between centres, the last one narrower": (
        [between("a.npy", 0, 2), between("b.npy", 3, 5), between("c.npy", 6, 7, width=2)],
        r"tiles\[2\] \('c\.npy'\): coordinates\.x gives a pixel size of 0\.5, but the other tiles have 0\.666667, so "
        r"that it ends 0\.5 px off; one mosaic needs one pixel size; 1 of 3 tiles do not fit\. " + CENTERS_FIT,
    ),
    "another pixel size": (
        [at("a.npy", 0, q=5), at("b.npy", 3, q=5), tile("c.npy", {"y": [0, 2], "x": [6, 9.3]}, q=5)],
        r"tiles\[2\] \('c\.npy', q=5\): coordinates\.x gives a pixel size of 1\.1, but the other tiles have 1, so that "
        rf"it ends 0\.3 px off; one mosaic needs one pixel size; 1 of 3 tiles do not fit\. {NO_BETTER('centers')}",
    ),
    "pixel sizes that differ by more than 1e-3": (
        [at("a.npy", 0), tile("b.npy", {"y": [0, 2], "x": [3, 6 - 0.0045]})],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x gives a pixel size of 0\.9985, but the other tiles have 1, so that "
        r"it ends 0\.0045 px off; ",
    ),
    "another direction": (
        [at("a.npy", 0), tile("b.npy", {"y": [0, 2], "x": [6, 3]})],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x gives a pixel size of -1, but the other tiles have 1, ",
    ),
    "a point among ranges": (
        [at("a.npy", 0), tile("b.npy", {"y": [0, 2], "x": [3, 3]})],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x gives a pixel size of 0, but the other tiles have 1, ",
    ),
    "points": (
        [tile("a.npy", {"y": [0, 2], "x": 0}), tile("b.npy", {"y": [0, 2], "x": 3})],
        r"tiles\[0\] \('a\.npy'\): coordinates\.x has no width \(0 to 0\), nor has that of any other tile, so nothing "
        rf"can be placed; 2 of 2 tiles do not fit\. {NO_BETTER('centers')}",
    ),
    "single pixels": (
        [
            {**tile("a.npy", {"y": [0, 2], "x": 0}), "tile_shape": [2, 1]},
            {**tile("b.npy", {"y": [0, 2], "x": 3}), "tile_shape": [2, 1]},
        ],
        rf"tiles\[0\] \('a\.npy'\): coordinates\.x has no width .* {CENTERS_FIT}",
    ),
    "far away": (
        [at("a.npy", 0), at("b.npy", 3e9), at("c.npy", 5)],
        r"tiles\[1\] \('b\.npy'\): coordinates\.x starts 3e\+09 px from the first tile, at most 134217728 px can be "
        r"opened as one array; 1 of 3 tiles do not fit\. ",
    ),
    "no coordinate": (
        [at("a.npy", 0), tile("b.npy", {"y": [0, 2]}), tile("c.npy", {"y": [0, 2]})],
        r"tiles\[1\] \('b\.npy'\) is part of a mosaic, but has no coordinate x; 2 of 3 tiles lack it\. Give each tile "
        r"the range that it covers\.$",
    ),
    "nothing to place unequal sizes by": (
        [
            {**tile("a.npy", {"x": [0, 3]}), "tile_shape": [2, 3]},
            {**tile("b.npy", {"x": [3, 6]}), "tile_shape": [4, 3]},
        ],
        r"tiles\[1\] \('b\.npy'\) is 4 px long along y, but tiles\[0\] \('a\.npy'\) is 2 px, and no tile has a "
        r"coordinate y that places it; 1 of 2 tiles do not fit\. Give each tile the range that it covers\.$",
    ),
    "the same place": (
        [at("a.npy", 0, r=0, c=2), at("b.npy", 3, r=0, c=2), at("d.npy", 0, r=0, c=2)],
        r"tiles\[0\] \('a\.npy'\) and tiles\[2\] \('d\.npy'\) are both at r=0, c=2 with the same coordinates\. Give "
        r"them different indices, or coordinates side by side\.$",
    ),
    "the same place, but for noise": (
        [at("a.npy", 0), at("b.npy", 3), at("c.npy", 3.009), at("d.npy", 0.1 + 0.2 - 0.3)],
        r"tiles\[0\] \('a\.npy'\) and tiles\[3\] \('d\.npy'\) are both at the only position with the same "
        r"coordinates, and so are 1 more pairs\. ",
    ),
    "the same place, among tiles that fit nowhere": (
        [at("a.npy", 0), at("b.npy", 3.4), at("c.npy", 0)],
        r"tiles\[0\] \('a\.npy'\) and tiles\[2\] \('c\.npy'\) are both at the only position with the same ",
    ),
    "no coordinates at all": (
        [tile("a.npy"), tile("b.npy")],
        r"tiles\[0\] \('a\.npy'\) and tiles\[1\] \('b\.npy'\) are both at the only position with the same ",
    ),
    "dummy coordinates": (
        [tile(f"{i}.npy", {"xc": [0, 0.0001], "yc": [0, 0.0001], "zc": [0, 0.0001]}) for i in range(3)],
        r"tiles\[0\] \('0\.npy'\) and tiles\[1\] \('1\.npy'\) are both at the only position with the same coordinates, "
        r"and so are 1 more pairs\. ",
    ),
    "ragged outside a mosaic": (
        [{**tile(f"{r}.npy", r=r), "tile_shape": shape} for r, shape in enumerate([[2, 3], [3, 2], [2, 3], [4, 4]])],
        r"tiles\[1\] \('1\.npy', r=1\) has shape \(3, 2\), but tiles\[0\] \('0\.npy', r=0\) has \(2, 3\); 2 of 4 tiles "
        r"do not fit\. Tiles of one array must have one shape, unless their coordinates place them side by side\. Put "
        r"them into separate tile sets\.$",
    ),
}


@pytest.mark.parametrize(("tiles", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(bench, tiles, message):
    """Tiles that form no array are refused at open, by name, with how much they miss it and which reading would fit."""
    for number, entry in enumerate(tiles):
        sizes = entry.get("tile_shape", [2, 3])
        bench.put(**{entry["file"][0]: plane(number, tuple(sizes.values() if isinstance(sizes, dict) else sizes))})
    bench.put_set(tiles, dict.fromkeys(tiles[0]["indices"], 4))
    with pytest.raises(ManifestError, match=rf"^recording://b/set\.json: {message}") as caught:
        bench.open()
    assert caught.value.url == "recording://b/set.json"


def test_the_other_convention_works(bench):
    """Where a refusal says that "centers" fits all tiles, passing it opens them."""
    tiles, message = REFUSED["between centres, the last one narrower"]
    bench.put_set(tiles, {})
    bench.put(c=plane(2, (2, 2)))
    with pytest.raises(ManifestError, match=message):
        bench.open()
    image = bench.open(pixel_coords="centers")
    np.testing.assert_array_equal(image.values, np.hstack([plane(0), plane(1), plane(2, (2, 2))]))
    assert image.x.values.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


def test_edges_are_offered_too(bench):
    """A refusal under "centers" says so where "edges" would fit."""
    bench.put_set([at("a.npy", 0), at("b.npy", 3), at("c.npy", 6, width=2)], {})
    message = r"tiles\[2\] \('c\.npy'\): .* pixel_coords='edges' fits all tiles: pass it, or correct the coordinates\.$"
    with pytest.raises(ManifestError, match=message):
        bench.open(pixel_coords="centers")


# what is tolerated


@st.composite
def rounded_rows(draw):
    """Give (pixel size, base, origins, sizes, decimals): a row of tiles about 10,000 px wide."""
    size = draw(st.integers(64, 2048))
    pitch = draw(st.sampled_from([size, size - size // 10, size + 7]))
    origins = np.arange(10_000 // pitch + 2) * pitch
    sizes = np.full(len(origins), size)
    sizes[-1] = draw(st.sampled_from([size, max(1, size // 7)]))
    order = draw(st.permutations(range(len(origins))))
    decimals = draw(st.integers(0, 4))
    width = draw(st.floats(1, 9)) * 10.0 ** (2 - decimals) * draw(st.sampled_from([1, -1]))
    return width, draw(st.floats(-5000, 5000)), origins[order], sizes[order], decimals


@given(rounded_rows(), st.sampled_from(["edges", "centers"]))
def test_rounded_coordinates(row, convention):
    """Coordinates rounded to 0.01 px put every tile at its pixel, and no label more than 0.01 px beside its place."""
    width, base, origins, sizes, decimals = row
    steps = sizes - (convention == "centers")
    start, stop = (np.round(base + width * ends, decimals) for ends in (origins, origins + steps))
    found = fit(start, stop, sizes, convention)
    assert found.fault == ""
    np.testing.assert_array_equal(found.origins, origins)
    pixels = np.array([0, (origins + sizes).max()])
    drift = np.abs(found.bases[0] + found.width * pixels - (base + width * pixels)) / abs(width)
    assert drift.max() <= 0.01


@given(rounded_rows(), st.sampled_from(["edges", "centers"]), st.floats(0.03, 0.97), st.data())
def test_misfits_among_rounded_coordinates(row, convention, off, data):
    """Rounding excuses no tile that lies 0.03 px or more beside the grid, and that tile is the one to blame."""
    width, base, origins, sizes, decimals = row
    tile = data.draw(st.integers(0, len(origins) - 1))
    places = origins.astype(float)
    places[tile] += off
    steps = sizes - (convention == "centers")
    start, stop = (np.round(base + width * ends, decimals) for ends in (places, places + steps))
    assert fit(start, stop, sizes, convention).fault == "offset"


def test_drift_is_no_pixel_size():
    """Tiles 512.4 px apart that say they are 512 px long do not fit, though a pixel 8e-4 larger would place them."""
    start = np.arange(20) * 51.24
    found = fit(start, start + 51.2, [512] * 20)
    assert found.fault == "offset"
    assert np.count_nonzero(found.off_px) >= 15


def test_a_grid_a_little_off():
    """What lies 0.009 px beside the grid fits, 0.011 px does not; neither looks rounded."""
    for off, fault in ((0.009, ""), (0.011, "offset")):
        start = np.array([0, 1, 2 + off / 3]) * np.pi
        assert fit(start, start + np.pi, [3, 3, 3]).fault == fault


def test_rounded_small_tiles():
    """A remainder of few pixels may miss the pixel size by more than 1e-3, if by no more than the last decimal."""
    found = fit([0, 54.15], [54.15, 54.692], [500, 5])
    assert (found.fault, found.origins.tolist()) == ("", [0, 500])
    assert fit([0, 54.15], [54.15, 54.699], [500, 5]).fault == "size"


def test_single_pixels_between_centers(bench):
    """Tiles of one pixel, each at its centre: the closest two are neighbours."""
    tiles = [{**tile(f"{x}.npy", {"y": [0, 1], "x": x * 0.5}), "tile_shape": [2, 1]} for x in (4, 1, 2)]
    bench.put_set(tiles, {})
    for number, x in enumerate((4, 1, 2)):
        bench.put(**{str(x): plane(number, (2, 1))})
    image = bench.open(pixel_coords="centers")
    assert image.x.values.tolist() == [0.5, 1.0, 1.5, 2.0]
    np.testing.assert_array_equal(
        image.values, np.hstack([plane(1, (2, 1)), plane(2, (2, 1)), plane(0, (2, 1)) * 0, plane(0, (2, 1))])
    )


def test_one_single_pixel_among_others(bench):
    """A remainder of one pixel lies where its range starts, whatever the range's end, as in numpy.linspace."""
    for stop in (3, 4):
        bench.put_set([between("a.npy", 0, 2), between("b.npy", 3, stop, width=1)], {})
        bench.put(b=plane(1, (2, 1)))
        image = bench.open(pixel_coords="centers")
        np.testing.assert_array_equal(image.values, np.hstack([plane(0), plane(1, (2, 1))]))
        assert image.x.values.tolist() == [0, 1, 2, 3]


def test_one_axis_constant(bench):
    """An axis along which all tiles state one range, or one point, or nothing, needs no pixel size."""
    for y in ([0, 2], 7, None):
        coordinates = {} if y is None else {"yc": y}
        bench.put_set([tile("a.npy", {"xc": [0, 3], **coordinates}), tile("b.npy", {"xc": [3, 6], **coordinates})], {})
        np.testing.assert_array_equal(bench.open().values, np.hstack([plane(0), plane(1)]))


def test_stacks_along_z(bench):
    """Tiles of several planes, in pixels of 0.3 along z, lie on top of each other; a plane is missing between them."""
    shape = {"z": 2, "y": 2, "x": 3}
    ranges = {"x": [0, 3], "y": [0, 2]}
    places = {"a": [0.6, 1.2], "b": [-0.3, 0.3]}
    bench.put(a=plane(0, (2, 2, 3)), b=plane(1, (2, 2, 3)))
    bench.put_set([{**tile(f"{n}.npy", {**ranges, "zc": at}), "tile_shape": shape} for n, at in places.items()], {})
    image = bench.open()
    np.testing.assert_allclose(image.zc.values, [-0.15, 0.15, 0.45, 0.75, 1.05], atol=1e-9)
    np.testing.assert_array_equal(image.sel(zc=slice(0.7, 2)).values, plane(0, (2, 2, 3)))
    np.testing.assert_array_equal(image.sel(z=2).values, np.zeros((2, 3)))
