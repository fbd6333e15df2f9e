"""Tile sets of a collection as one array: stacked along a new dim, or side by side; and those that are refused."""

import numpy as np
import pytest
from smallsets import Bench, plane, tile, tile_set

from slicedfs import ManifestError


@pytest.fixture
def bench(request):
    """Give files in memory, of this test alone."""
    with Bench(request.node.nodeid) as fresh:
        yield fresh


def at(file, x, /, **indices):
    """Give a tile of 2 x 3 pixels of 1, at any x."""
    return tile(file, {"y": [0, 2], "x": [x, x + 3]}, **indices)


def collection(bench, **members):
    """Put tile sets, and a collection of them, as root.json."""
    bench.put(**members, root={"version": "0.1.0", "contents": {name: f"{name}.json" for name in members}})


R2 = {"r": 2}
UNEQUAL = (
    r"; stack='fov' needs members of equal shape\. Place them by their coordinates with mosaic=True, or open them with "
    r"xarray\.open_datatree\.$"
)
NOT_STACKED = {
    "tiles of another shape": (
        tile_set([tile("a.npy", r=0)], R2, default_tile_shape=[2, 3]),
        tile_set([tile("b.npy", r=0)], R2, default_tile_shape=[3, 3]),
        r"b\.json: 'b' has tiles of shape \(3, 3\), but 'a' has \(2, 3\)",
    ),
    "more rounds": (
        tile_set([tile("a.npy", r=0)], R2),
        tile_set([tile("b.npy", r=0)], {"r": 3}),
        r"b\.json: 'b' has the labels 0 to 2 along r, but 'a' has 0 to 1",
    ),
    "other labels": (
        tile_set([tile("a.npy", r=0)], R2),
        tile_set([tile("b.npy", r=4), tile("c.npy", r=1)], R2),
        r"b\.json: 'b' has the labels 1, 4 along r, but 'a' has 0 to 1",
    ),
    "a longer mosaic": (
        tile_set([at("a.npy", 0, r=0), at("b.npy", 3, r=0)], R2),
        tile_set([at("c.npy", 0, r=0), at("d.npy", 3, r=0), at("e.npy", 6, r=0)], R2),
        r"b\.json: 'b' is a mosaic of y=2, x=9 px, but 'a' of y=2, x=6 px",
    ),
    "planes at other places": (
        tile_set([tile("a.npy", {"z": 1}, r=0), tile("b.npy", {"z": 2}, r=0)], R2),
        tile_set([tile("c.npy", {"z": 1.5}, r=0), tile("d.npy", {"z": 2}, r=0)], R2),
        r"b\.json: 'b' has planes at z 1\.5, 2, but 'a' at 1, 2",
    ),
}


@pytest.mark.parametrize(("first", "second", "message"), NOT_STACKED.values(), ids=NOT_STACKED)
def test_unequal_members_are_not_stacked(bench, first, second, message):
    """Members of a stack that differ in shape are refused by name, with what to do instead."""
    collection(bench, a=first, b=second)
    bench.put(a=plane(0))
    with pytest.raises(ManifestError, match=rf"^recording://b/{message}{UNEQUAL}") as caught:
        bench.open("root.json", stack="fov")
    assert caught.value.url == "recording://b/b.json"


def test_how_many_members_differ(bench):
    """Where several members differ from the first, the refusal counts them."""
    sizes = {"a": [2, 3], "b": [4, 4], "c": [2, 3], "d": [5, 5]}
    collection(bench, **{n: tile_set([tile(f"{n}.npy")], {}, default_tile_shape=s) for n, s in sizes.items()})
    bench.put(a=plane(0))
    message = r"'b' has tiles of shape \(4, 4\), but 'a' has \(2, 3\) \(2 of 4 members differ from it\); stack='fov' "
    with pytest.raises(ManifestError, match=message):
        bench.open("root.json", stack="fov")


@pytest.mark.parametrize("name", ["r", "q", "x", "y", "s", "xc", "time", "zc", "image", "has_tile"])
def test_stack_name_taken(bench, name):
    """A name that a member, or the array itself, uses already is refused."""
    entry = tile("t0.npy", {"xc": [0, 3], "time": 4, "z": 1}, r=0, q=0)
    bench.put(t0=plane(0))
    collection(bench, a=tile_set([entry], {"r": 1, "q": 1}))
    message = (
        rf"^recording://b/a\.json: stack='{name}' names a dim or coordinate that 'a' already has\. Choose another "
    )
    with pytest.raises(ManifestError, match=message) as caught:
        bench.open("root.json", stack=name)
    assert caught.value.value == name


def test_stack_named_like_planes_inside(bench):
    """Members whose files hold z planes are not stacked along another z."""
    bench.put(t0=plane(0, (4, 2, 3)))
    collection(bench, a=tile_set([tile("t0.npy")], {}))
    with pytest.raises(ManifestError, match=r"b/a\.json: stack='z' names a dim or coordinate that 'a' already has"):
        bench.open("root.json", stack="z")


def test_a_misfit_in_a_collection(bench):
    """A tile that does not fit is named by its own document, not by its number among all."""
    collection(
        bench,
        one=tile_set([at("t0.npy", 0), at("t1.npy", 3)], {}),
        two=tile_set([at("t2.npy", 6), at("t3.npy", 9.5)], {}),
    )
    bench.put(t0=plane(0))
    message = (
        r"^recording://b/root\.json: tiles\[1\] of 'two' \('t3\.npy'\): coordinates\.x starts 0\.5 px off .*1 of 4 "
    )
    with pytest.raises(ManifestError, match=message):
        bench.open("root.json", mosaic=True)


def test_members_at_different_positions_are_placed_too(bench):
    """mosaic=True places by coordinates even where no two tiles share a position."""
    collection(bench, one=tile_set([at("t0.npy", 0, r=0)], R2), two=tile_set([at("t1.npy", 3, r=1)], R2))
    bench.put(t0=plane(0), t1=plane(1))
    image = bench.open("root.json", mosaic=True)
    np.testing.assert_array_equal(image.sel(r=0).values, np.hstack([plane(0), plane(0) * 0]))
    np.testing.assert_array_equal(image.sel(r=1).values, np.hstack([plane(1) * 0, plane(1)]))


def test_members_with_different_labels_side_by_side(bench):
    """mosaic=True joins the labels of its members, without a warning."""
    collection(
        bench,
        one=tile_set([at("t0.npy", 0, r=1), at("t1.npy", 0, r=4)], R2),
        two=tile_set([at("t2.npy", 3, r=4), at("t3.npy", 3, r=9)], R2),
    )
    bench.put(**{f"t{i}": plane(i) for i in range(4)})
    image = bench.open("root.json", mosaic=True)
    assert image.r.values.tolist() == [1, 4, 9]
    np.testing.assert_array_equal(image.sel(r=4).values, np.hstack([plane(1), plane(2)]))


def test_hints_that_all_members_share(bench):
    """Units that every member states are units of the whole."""
    hints = [{"units": {"x": "um"}, "dtype": "<u2"}, {"units": {"x": "um"}, "dtype": "<u2", "more": 1}]
    sets = [tile_set([at(f"t{i}.npy", 3 * i)], {}, extras={"slicedfs": hints[i]}) for i in (0, 1)]
    collection(bench, one=sets[0], two=sets[1])
    bench.put(t0=plane(0), t1=plane(1))
    assert bench.open("root.json", mosaic=True).x.attrs == {"axis": "X", "units": "um"}
