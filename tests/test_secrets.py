"""Secrets stay where they were given: they are in no repr, attribute, plan or error, and pickles hold no others."""

import json
import pickle
import traceback

import fsspec.config
import pytest
import xarray as xr
from smallsets import Bench, npy, plane, tile, tile_set

from slicedfs import SlicedfsError, explain
from slicedfs import open as open_node
from slicedfs.lazy import unwrap

SECRET = "s3cr3t-PLANTED"


@pytest.fixture
def bench(request):
    """Give files in memory that were opened with a secret; b.npy is absent."""
    with Bench(request.node.nodeid) as fresh:
        fresh.options["token"] = SECRET
        fresh.put_set([tile("a.npy", {"x": [0, 3]}, r=0), tile("b.npy", {"x": [0, 3]}, r=1)], {"r": 2})
        fresh.put(root={"version": "0.1.0", "contents": {"s": "set.json"}})
        del fresh.fs.files["b/b.npy"]
        yield fresh


@pytest.fixture
def served(tmp_path, serve_http):
    """Give the URL of a directory with the same files, and the options that it takes."""
    (tmp_path / "set.json").write_text(json.dumps(tile_set([tile("a.npy", r=0), tile("b.npy", r=1)], {"r": 2})))
    (tmp_path / "root.json").write_text(json.dumps({"version": "0.1.0", "contents": {"s": "set.json"}}))
    (tmp_path / "a.npy").write_bytes(npy(plane(0)))
    server = serve_http(tmp_path, required_headers={"X-Key": SECRET})
    return server.url, server.storage_options


def texts(dataset):
    """Give everything that a Dataset shows of itself."""
    image, pixels = dataset.image, unwrap(dataset.image.variable._data)
    yield from (repr(dataset), dataset._repr_html_(), repr(image), image._repr_html_(), repr(image.variable._data))
    yield from (repr(obj) for obj in (dataset.attrs, dataset.encoding, image.attrs, image.encoding))
    if pixels is None:
        yield from (image.data.name, repr(list(image.data.dask)))
    else:
        plan = explain(dataset)
        yield from (repr(plan), repr(list(plan.rows())), str(pixels), repr(pixels.token))
        yield from (repr(pixels._ref), repr(pixels._source), repr(pixels._source.session.store))


def text_of(error):
    """Give everything that an error shows, causes included."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


@pytest.mark.parametrize("chunks", [None, {}], ids=str)
def test_options_do_not_show(bench, chunks):
    """What was given as storage_options is in no repr, no HTML, no attribute, no plan."""
    shown = list(texts(bench.dataset(chunks=chunks)))
    assert len(shown) >= 11
    assert "recording://b/set.json" in "".join(shown)
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize("chunks", [None, {}], ids=str)
def test_queries_do_not_show(served, chunks):
    """Nor is a signature in the URL."""
    url, options = served
    dataset = xr.open_dataset(f"{url}/set.json?sig={SECRET}", engine="slicedfs", storage_options=options, chunks=chunks)
    shown = list(texts(dataset))
    assert f"{url}/set.json?sig=…" in "".join(shown)
    assert [text for text in shown if SECRET in text] == []


def test_nodes_and_trees_do_not_show_them(served):
    """Nor are they in nodes, nor in the encoding of any group of a tree."""
    url, options = served
    root = open_node(f"{url}/root.json?sig={SECRET}", storage_options=options)
    shown = [f"{node!r} {node.url} {node.path} {node.opened!r} {node.session.options!r}" for node in (root, root["s"])]
    tree = xr.open_datatree(f"{url}/root.json?sig={SECRET}", engine="slicedfs", storage_options=options)
    groups = xr.open_groups(f"{url}/root.json?sig={SECRET}", engine="slicedfs", storage_options=options)
    shown += [repr(tree), tree._repr_html_(), *(repr(node.encoding) for node in tree.subtree)]
    shown += [repr(dataset.encoding) for dataset in groups.values()]
    assert sum("?sig=…" in text for text in shown) >= 6
    assert [text for text in shown if SECRET in text] == []


@pytest.mark.parametrize(
    ("path", "load"), [("set.json", True), ("none.json", False), ("a.npy", False), ("root.json", False)], ids=str
)
def test_errors_do_not_tell_queries(served, path, load):
    """Errors name the URL without its signature, all the way down their causes."""
    url, options = served
    with pytest.raises(SlicedfsError, match=r"http://127\.0\.0\.1:\d+/[a-z]+\.[a-z]+\?sig=…") as caught:  # noqa: PT012
        array = xr.open_dataset(f"{url}/{path}?sig={SECRET}", engine="slicedfs", storage_options=options).image
        if load:
            array.load()
    assert SECRET not in text_of(caught.value)


def test_errors_do_not_tell_options(bench):
    """What a filesystem says is cleared of the options it was made with."""
    image = bench.open()
    bench.fs.fail("b/a.npy", PermissionError(f"token {SECRET} is not welcome"))
    with pytest.raises(SlicedfsError, match=r"^recording://b/a\.npy") as caught:
        image.isel(r=0).load()
    assert "is not welcome" in str(caught.value)
    assert SECRET not in text_of(caught.value)


def test_pickles_hold_only_what_was_given(bench, monkeypatch):
    """Defaults of fsspec's configuration, as credentials are, stay out of pickles; options given are in them."""
    monkeypatch.setitem(fsspec.config.conf, "recording", {"hidden": "c0nfigured-PLANTED"})
    image = bench.open()
    stored = pickle.dumps(image)
    assert SECRET.encode() in stored
    assert b"c0nfigured-PLANTED" not in stored
    chunked = pickle.dumps(bench.open(chunks={}).data.dask)
    assert b"c0nfigured-PLANTED" not in chunked
    assert SECRET not in repr(pickle.loads(stored))


def test_environment_stays_out_of_pickles(served, monkeypatch):
    """So do credentials in the environment."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fr0m-environment-PLANTED")
    monkeypatch.setenv("FSSPEC_HTTP_BLOCK_SIZE", "123456")
    url, options = served
    image = xr.open_dataset(f"{url}/set.json", engine="slicedfs", storage_options=options).image
    stored = pickle.dumps(image)
    assert b"fr0m-environment-PLANTED" not in stored
    assert b"123456" not in stored


def test_documents_show_no_query(tmp_path, serve_http):
    """What a node's document shows of itself holds no query of a presigned URL, of a stack's members neither."""
    (tmp_path / "set.json").write_text(json.dumps(tile_set([tile("a.npy", r=0)], {"r": 1})))
    (tmp_path / "root.json").write_text(json.dumps({"version": "0.1.0", "contents": {"s": "set.json"}}))
    (tmp_path / "a.npy").write_bytes(npy(plane(0)))
    server = serve_http(tmp_path)
    node = open_node(f"{server.url}/root.json?sig={SECRET}")
    array = node["s"].to_dataarray()
    stacked = unwrap(xr.open_dataset(node, engine="slicedfs", stack="fov").image.variable._data)
    shown = repr([node, node.document, node["s"].document, array, stacked, stacked._source.document])
    assert "tiles" in shown
    assert SECRET not in shown
