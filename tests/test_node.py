"""What slicedfs.open gives: collections and tile sets, read on demand, and the trees that xarray makes of them."""

import pickle
from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr
from smallsets import Bench, plane, tile, tile_set

from slicedfs import Collection, ManifestError, MissingTileError, TileSet
from slicedfs import open as open_node


def collection(contents, **more):
    """Give the document of a collection: names and references."""
    return {"version": "0.1.0", "contents": contents, **more}


@pytest.fixture
def bench(request):
    """Give files in memory: root.json with the groups a and b, a name with a slash, and a tile set of its own."""
    with Bench(request.node.nodeid) as fresh:
        fresh.put_set([tile("t0.npy", r=0), tile("t1.npy", r=1)], {"r": 2}, extras={"k": 1}, unknown=2)
        contents = {"a": "a.json", "b": "b.json", "c/d": "set.json", "alone": "set.json"}
        fresh.put(root=collection(contents, extras={"n": [1]}, more="x"))
        fresh.put(a=collection({"fov": "set.json", "only": "set.json"}), b=collection({"fov": "other.json"}))
        fresh.put(other=tile_set([tile("t1.npy", r=0)], {"r": 1}))
        yield fresh


@pytest.fixture
def root(bench):
    """Give the opened root."""
    return open_node(bench.url("root.json"), storage_options=bench.options)


def test_mapping(bench, root):
    """A collection is a mapping of names, in the document's order; looking at it reads one document."""
    assert isinstance(root, Collection)
    assert isinstance(root, Mapping)
    assert (list(root), len(root)) == (["a", "b", "c/d", "alone"], 4)
    assert "a" in root
    assert "fov" not in root
    assert (root.kind, root.codebook, root.version) == ("collection", None, "0.1.0")
    assert (root.extras, root.unknown) == ({"n": [1]}, {"more": "x"})
    assert (root.path, root.name, root.url) == ("", "", "recording://b/root.json")
    expected = "<slicedfs.Collection recording://b/root.json: collection of 4: 'a', 'b', 'c/d', 'alone'>"
    assert repr(root) == expected
    assert root == root["/"]
    assert root != open_node(bench.url("root.json"), storage_options=bench.options)
    assert len({root, root}) == 1
    assert bench.read == ["root.json", "root.json"]


def test_members_on_demand(bench, root):
    """Asking for a member reads its document, once."""
    bench.fs.clear()
    group = root["a"]
    assert bench.read == ["a.json"]
    assert (group.path, group.name, list(group)) == ("a", "a", ["fov", "only"])
    fov = root["a/fov"]
    assert isinstance(fov, TileSet)
    assert (fov.path, fov.name) == ("a/fov", "fov")
    assert root["/a/fov/"].path == group["fov"].path == "a/fov"
    assert bench.read == ["a.json", "set.json"]


def test_tile_set(bench, root):
    """A tile set shows what its document says."""
    fov = root["a/fov"]
    assert (fov.shape, fov.dimensions, fov.version) == ({"r": 2}, ("r", "y", "x"), "0.1.0")
    assert (fov.extras, fov.unknown) == ({"k": 1}, {"unknown": 2})
    assert (len(fov.tiles), list(fov.tiles.files)) == (2, ["t0.npy", "t1.npy"])
    assert repr(fov) == "<slicedfs.TileSet a/fov: r=2, 2 tiles>"
    bench.fs.clear()
    array = fov.to_dataarray(chunks={"r": 1})
    assert (array.sizes, array.chunks) == ({"r": 2, "y": 2, "x": 3}, ((1, 1), (2,), (3,)))
    np.testing.assert_array_equal(fov.to_dataset().image.values, np.stack([plane(0), plane(1)]))


def test_names_with_slashes(root):
    """A name may hold a slash, and wins over a path."""
    assert root["c/d"].names == ("c/d",)


def test_leaf_names(bench, root):
    """A bare name works where one node below has it; where several have, the error names them."""
    assert root["only"].path == "a/only"
    with pytest.raises(
        KeyError, match=r"recording://b/root\.json has several members 'fov'; ask for one of 'a/fov', 'b/fov'"
    ):
        root["fov"]
    assert root["a"]["fov"].path == "a/fov"


@pytest.mark.parametrize("name", ["nothing", "a/nothing", "a/fov/nothing", "c", "d"])
def test_no_such_member(root, name):
    """A name that leads nowhere is a KeyError that tells the names there are."""
    message = rf"recording://b/root\.json has no member '{name}'; it has 'a', 'b', 'c/d', 'alone'"
    with pytest.raises(KeyError, match=message):
        root[name]
    assert root.get(name, "default") == "default"


def test_many_names_are_cut(bench):
    """An error lists ten names at most."""
    bench.put(root=collection({f"n{i}": "set.json" for i in range(11)}))
    root = open_node(bench.url("root.json"), storage_options=bench.options)
    with pytest.raises(KeyError, match=r"it has 'n0', .*'n9', …\""):
        root["nothing"]


def test_broken_members(bench, root):
    """A member that is absent, or no document, fails when asked for; the others do not."""
    del bench.fs.files["b/a.json"]
    bench.fs.files["b/b.json"] = b"{"
    with pytest.raises(MissingTileError, match=r"^recording://b/a\.json: there is no such file"):
        root["a"]
    with pytest.raises(ManifestError, match=r"^recording://b/b\.json"):
        root["b"]
    assert root["alone"].shape == {"r": 2}


def test_pickle(root):
    """Nodes pickle; what comes back opens its members."""
    again = pickle.loads(pickle.dumps(root))
    assert list(again) == list(root)
    np.testing.assert_array_equal(again["a/fov"].to_dataarray().isel(r=1).values, plane(1))
    fov = pickle.loads(pickle.dumps(root["a/fov"]))
    assert fov.path == "a/fov"
    np.testing.assert_array_equal(fov.to_dataarray().isel(r=0).values, plane(0))


# documents that lead to themselves, and too deep


def test_cycle(bench):
    """A collection that contains itself is refused, with the way there."""
    bench.put(a=collection({"b": "b.json"}), b=collection({"back": "x/../a.json"}))
    root = open_node(bench.url("a.json"), storage_options=bench.options)
    message = (
        r"^recording://b/b\.json refers to 'recording://b/a\.json', which led here: recording://b/a\.json -> "
        r"recording://b/b\.json -> recording://b/a\.json\. A collection must not contain itself\.$"
    )
    with pytest.raises(ManifestError, match=message):
        root["b/back"]
    with pytest.raises(ManifestError, match=message):
        xr.open_datatree(bench.url("a.json"), engine="slicedfs", storage_options=bench.options)


def test_self(bench):
    """So is one that names itself."""
    bench.put(a=collection({"me": "a.json"}))
    with pytest.raises(ManifestError, match=r"a\.json -> recording://b/a\.json\. A collection must not contain itself"):
        open_node(bench.url("a.json"), storage_options=bench.options)["me"]


def test_twice_on_different_paths(root):
    """One document under several names is no cycle."""
    assert root["a/fov"].url == root["a/only"].url == root["alone"].url


def test_depth(bench):
    """Thirty-two levels are read, more are not."""
    bench.put(**{f"d{i}": collection({"n": f"d{i + 1}.json"}) for i in range(40)})
    root = open_node(bench.url("d0.json"), storage_options=bench.options)
    deepest = root["/".join(["n"] * 31)]
    assert deepest.url == "recording://b/d31.json"
    with pytest.raises(
        ManifestError, match=r"^recording://b/d31\.json is nested 32 levels deep, at most 32 are read: "
    ):
        deepest["n"]


# group= and trees


@pytest.mark.parametrize("group", ["a/fov", "/a/fov", "only", "c/d", "alone"])
def test_group(bench, group):
    """Group names a member as a collection's [] does."""
    image = bench.open("root.json", group=group)
    np.testing.assert_array_equal(image.isel(r=1).values, plane(1))


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ("nothing", KeyError, r"recording://b/root\.json has no member 'nothing'; it has 'a'"),
        ("fov", KeyError, r"has several members 'fov'; ask for one of 'a/fov', 'b/fov'"),
        (
            "a",
            ManifestError,
            r"^recording://b/a\.json is a collection, not a tile set\. .* by group=: 'fov', 'only'",
        ),
        (
            None,
            ManifestError,
            r"^recording://b/root\.json is a collection, not a tile set\. Open one of its members by group=: 'a', ",
        ),
        ("alone/x", KeyError, r"recording://b/root\.json has no member 'alone/x'"),
    ],
)
def test_wrong_group(bench, group, error, message):
    """A group that is no tile set is refused, naming what there is."""
    with pytest.raises(error, match=message):
        bench.open("root.json", group=group)


def tree(bench, **options):
    """Open root.json as a tree."""
    return xr.open_datatree(bench.url("root.json"), engine="slicedfs", storage_options=bench.options, **options)


def test_tree(bench):
    """A tree has a group a node; collections have attributes, tile sets have images; each document is read once."""
    opened = tree(bench)
    assert sorted(opened.groups) == ["/", "/a", "/a/fov", "/a/only", "/alone", "/b", "/b/fov", "/c_d"]
    assert opened.attrs == {"n": [1], "more": "x"}
    assert not opened.to_dataset().variables
    assert sorted(name for name in bench.read if name.endswith("json")) == [
        "a.json",
        "b.json",
        "other.json",
        "root.json",
        "set.json",
    ]
    np.testing.assert_array_equal(opened["/b/fov/image"].values, plane(1)[None])
    assert {node.encoding["source"] for node in opened.subtree} == {
        f"recording://b/{name}.json" for name in ("root", "a", "b", "other", "set")
    }


@pytest.mark.parametrize(
    ("options", "groups", "read"),
    [
        ({"group": "a"}, ["/", "/fov", "/only"], {"root.json", "a.json", "set.json", "t0.npy"}),
        ({"group": "alone"}, ["/"], {"root.json", "set.json", "t0.npy"}),
        ({"depth": 0}, ["/"], {"root.json"}),
        ({"depth": 1, "select": "[ab]"}, ["/", "/a", "/b"], {"root.json", "a.json", "b.json"}),
        ({"select": "b/f*"}, ["/", "/b", "/b/fov"], {"root.json", "b.json", "other.json", "t1.npy"}),
        ({"select": "*/fo?", "depth": 2}, ["/", "/a", "/a/fov", "/alone", "/b", "/b/fov", "/c_d"], None),
    ],
    ids=str,
)
def test_part_of_a_tree(bench, options, groups, read):
    """Group, select and depth leave documents unread."""
    assert sorted(tree(bench, **options).groups) == groups
    if read is not None:
        assert set(bench.read) == read


def test_names_that_no_tree_can_have(bench):
    """Slashes, dots and clashes in names are replaced in a tree."""
    names = {"..": "other.json", ".": "other.json", "x/y": "other.json", "x_y": "other.json", "a b.c": "other.json"}
    bench.put(root=collection(names))
    assert sorted(tree(bench).groups) == ["/", "/_", "/__2", "/a b.c", "/x_y", "/x_y_2"]


def test_groups_that_do_not_align(bench):
    """open_groups gives a dict of Datasets; options and dropped variables apply to each."""
    groups = xr.open_groups(
        bench.url("root.json"), engine="slicedfs", storage_options=bench.options, pixel_coords="centers", group="b"
    )
    assert sorted(groups) == ["/", "/fov"]
    dropped = tree(bench, drop_variables="image")
    assert not any("image" in node for node in dropped.subtree)


def test_experiment(bench):
    """A SpaceTx experiment is a collection of its images, and tells its codebook."""
    experiment = {"version": "5.0.0", "images": {"primary": "a.json", "nuclei": "b.json"}, "codebook": "codes.json"}
    bench.put(experiment=experiment)
    root = open_node(bench.url("experiment.json"), storage_options=bench.options)
    assert (root.kind, root.codebook, list(root)) == ("experiment", "codes.json", ["primary", "nuclei"])
    assert root["primary/fov"].shape == {"r": 2}
    opened = xr.open_datatree(bench.url("experiment.json"), engine="slicedfs", storage_options=bench.options)
    assert opened.attrs == {"codebook": "codes.json"}


# several tile sets as one array


def test_stack(bench):
    """stack= gives the tile sets of a collection one dim more, labelled by their names."""
    bench.put(a=collection({"one": "set.json", "two": "set.json"}))
    image = bench.open("root.json", group="a", stack="fov")
    assert (image.dims, image.fov.values.tolist()) == (("fov", "r", "y", "x"), ["one", "two"])
    np.testing.assert_array_equal(image.sel(fov="two", r=0).values, plane(0))
    assert bench.read == ["t0.npy"]


def test_mosaic(bench):
    """mosaic=True places the tile sets of a collection by their coordinates."""
    for name, number, start in (("left", 0, 0), ("right", 1, 3)):
        entry = tile(f"t{number}.npy", {"x": [start, start + 3], "y": [0, 2]}, r=0)
        bench.put(**{name: tile_set([entry], {"r": 1})})
    bench.put(a=collection({"l": "left.json", "r": "right.json"}))
    image = bench.open("a.json", mosaic=True)
    assert image.x.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    np.testing.assert_array_equal(image.isel(r=0).values, np.hstack([plane(0), plane(1)]))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)).values, image.values)
