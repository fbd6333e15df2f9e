"""One tree, many filesystems: the same arrays from each, and the same few requests."""

import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import imagesets
import numpy as np
import pytest
import xarray as xr
from imagesets import Layout

import slicedfs


@dataclass(frozen=True)
class Place:
    """Where a copy of the tree lies."""

    url: str
    """Of the directory, or with ``{}`` in the place of a document's name."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the openers need."""
    requests: Callable[[], list[Any]] | None = None
    """All requests that its server got, where it has one."""

    def document(self, name: str) -> str:
        """Give the URL of a document."""
        return self.url.format(name) if "{}" in self.url else f"{self.url}/{name}"


def _local(request: pytest.FixtureRequest, tree: Path) -> Place:
    return Place(str(tree))


def _file(request: pytest.FixtureRequest, tree: Path) -> Place:
    return Place(tree.as_uri())


def _memory(request: pytest.FixtureRequest, tree: Path) -> Place:
    memory = fsspec.filesystem("memory")
    for path in tree.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/{tree.name}/{path.relative_to(tree).as_posix()}", path.read_bytes())
    request.addfinalizer(lambda: memory.rm(f"/{tree.name}", recursive=True))
    return Place(f"memory://{tree.name}")


def _http(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("serve_http")(tree)
    return Place(server.url, requests=lambda: server.requests)


def _nginx(request: pytest.FixtureRequest, tree: Path) -> Place:
    return Place(request.getfixturevalue("serve_nginx")(tree).url)


def _s3(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("s3_server")
    url = server.put_tree(tree, server.new_bucket(), "deep/er")
    return Place(url, {"storage_options": server.storage_options}, lambda: server.requests)


def _s3_anonymous(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("s3_server")
    url = server.put_tree(tree, server.new_bucket(), public=True)
    return Place(url, {"storage_options": server.anonymous_options}, lambda: server.requests)


def _gs(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("gcs_server")
    url = server.put_tree(tree, server.new_bucket(), "deep/er")
    return Place(url, {"storage_options": server.storage_options}, lambda: server.requests)


def _azure(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("azure_server")
    url = server.put_tree(tree, server.new_bucket(), "deep/er")
    return Place(url.replace("abfs://", "az://"), {"storage_options": server.storage_options}, lambda: server.requests)


def _zipped(tree: Path) -> Path:
    target = tree.parent / f"{tree.name}.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path in tree.rglob("*"):
            archive.write(path, f"in/{path.relative_to(tree).as_posix()}")
    return target


def _zip(request: pytest.FixtureRequest, tree: Path) -> Place:
    return Place(f"zip://in/{{}}::{_zipped(tree).as_uri()}")


def _zip_http(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("serve_http")(_zipped(tree).parent)
    return Place(f"zip://in/{{}}::{server.url}/{tree.name}.zip")


def _simplecache(request: pytest.FixtureRequest, tree: Path) -> Place:
    server = request.getfixturevalue("serve_http")(tree)
    cache = str(request.getfixturevalue("tmp_path") / "cache")
    return Place(f"simplecache::{server.url}", {"storage_options": {"simplecache": {"cache_storage": cache}}})


PLACES = {
    "local": _local,
    "file": _file,
    "memory": _memory,
    "http": _http,
    "nginx": _nginx,
    "s3": _s3,
    "s3-anonymous": _s3_anonymous,
    "gs": _gs,
    "azure": _azure,
    "zip": _zip,
    "zip-http": _zip_http,
    "simplecache": _simplecache,
}


@pytest.fixture(params=list(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path, experiment: Path) -> Place:
    """Give a copy of the session's experiment on each filesystem."""
    return PLACES[request.param](request, shutil.copytree(experiment.parent, tmp_path / "tree"))


def image_paths(experiment: Path) -> list[str]:
    """Give the path of every tile set that the experiment holds."""
    return [f"{image}/{fov}" for image, fields in imagesets.EXPERIMENT.items() for fov in fields]


def test_every_filesystem_gives_the_same_arrays(place: Place, experiment: Path) -> None:
    """open_datatree gives slicedimage's own pixels for every tile set, from every filesystem."""
    tree = xr.open_datatree(place.document("experiment.json"), engine="slicedfs", **place.options)
    paths = image_paths(experiment)
    assert paths
    assert {f"/{path}" for path in paths} <= set(tree.groups)
    for path in paths:
        image, fov = path.split("/")
        dims = tuple(imagesets.EXPERIMENT[image][fov].labels)
        loaded = tree[path]["image"].transpose(*dims, "y", "x").values
        np.testing.assert_array_equal(loaded, imagesets.oracle_array(experiment, path, dims=dims))


def test_a_group_of_every_filesystem(place: Place, experiment: Path) -> None:
    """open_dataset(group=…) and open()[…] give the same crop as numpy on slicedimage's pixels."""
    path = image_paths(experiment)[0]
    whole = imagesets.oracle_array(experiment, path)
    url = place.document("experiment.json")
    by_group = xr.open_dataset(url, engine="slicedfs", group=path, **place.options).image
    by_node = slicedfs.open(url, **place.options)[path].to_dataarray()
    for array in (by_group, by_node):
        crop = array.isel(r=0, c=[2, 0], y=slice(3, 9), x=slice(None, None, -5))
        np.testing.assert_array_equal(crop.values, whole[0][[2, 0]][:, :, 3:9, ::-5])


@pytest.mark.parametrize("kind", ["http", "s3", "gs", "azure"])
def test_requests_are_the_documents_and_the_tiles(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, experiment: Path
) -> None:
    """At the server: one request a document, one header at most, then k requests for k tiles, each once."""
    tree = shutil.copytree(experiment.parent, tmp_path / "tree")
    at = PLACES[kind](request, tree)
    assert at.requests is not None
    path = image_paths(experiment)[0]

    root = slicedfs.open(at.document("experiment.json"), **at.options)
    assert _names(at) == {"experiment.json": 1}
    node = root[path]
    documents = {"experiment.json": 1, "primary.json": 1, "primary-fov_000.json": 1}
    assert _names(at) == documents
    array = node.to_dataarray()
    tiles = {name: n for name, n in _names(at).items() if not name.endswith(".json")}
    # adlfs hides the size that a short reply states, so a tile below 16 KiB costs a HEAD too.
    assert list(tiles.values()) == [2 if kind == "azure" else 1]
    before = _names(at)

    _ = repr(array), array.isel(r=0).sel(xc=slice(1, 5)), array._repr_html_()
    assert _names(at) == before
    array.isel(r=1, z=0).load()
    read = _names(at) - before
    assert sorted(read.values()) == [1] * array.sizes["c"]
    assert all(re.search(r"r1-z0\.", name) for name in read), read


def _names(place: Place) -> Counter[str]:
    """Count the requests by the last part of their path."""
    assert place.requests is not None
    return Counter(unquote(request.path).rsplit("/", 1)[-1] for request in place.requests())


def test_opening_a_collection_is_one_request(tmp_path: Path, serve_http: Any) -> None:
    """A collection of 20 children opens with 1 request; a child costs its document and one header."""
    fields = {f"fov_{i:03}": Layout(labels={"r": (0,), "c": (0, 1), "z": (0,)}) for i in range(20)}
    imagesets.write_collection(tmp_path, fields)
    server = serve_http(tmp_path)
    collection = slicedfs.open(f"{server.url}/collection.json")
    assert (len(server.requests), len(collection), "fov_007" in collection) == (1, 20, True)
    child = collection["fov_007"]
    assert len(server.requests) == 2
    child.to_dataset()
    assert len(server.requests) == 3
    assert server.requests[-1].range == "bytes=0-16383"


class TestManifestAndTilesApart:
    """Tiles may lie on another filesystem than their document, within the policy."""

    layout = Layout(labels={"r": (0, 1), "c": (0,), "z": (0,)})

    def apart(self, tmp_path: Path, base_url: str) -> Path:
        """Write a document whose tiles lie below `base_url`, which serves ``tmp_path / "tiles"``."""
        (tmp_path / "documents").mkdir()
        document = imagesets.write_tile_set(tmp_path / "documents", self.layout)
        (tmp_path / "tiles").mkdir(exist_ok=True)
        imagesets.split_tiles(document, tmp_path / "tiles", base_url)
        return document

    def test_local_document_http_tiles(self, tmp_path: Path, serve_http: Any) -> None:
        """A local document may lead to a web server, also a private one."""
        (tmp_path / "tiles").mkdir()
        server = serve_http(tmp_path / "tiles")
        document = self.apart(tmp_path, server.url)
        np.testing.assert_array_equal(slicedfs.open_dataarray(document).values, imagesets.expected(self.layout))
        assert len(server.requests) == 3  # one header, two tiles

    def test_s3_document_http_tiles(self, tmp_path: Path, serve_http: Any, s3_server: Any) -> None:
        """A document in a bucket may not lead to a private host, unless the policy names it."""
        (tmp_path / "tiles").mkdir()
        server = serve_http(tmp_path / "tiles")
        document = self.apart(tmp_path, server.url)
        url = s3_server.put_tree(document.parent, s3_server.new_bucket()) + "/tileset.json"
        with pytest.raises(slicedfs.UrlPolicyError, match=r"refers to 'http://127\.0\.0\.1:\d+/"):
            slicedfs.open_dataarray(url, storage_options=s3_server.storage_options)
        assert server.requests == []
        policy = slicedfs.UrlPolicy(hosts=["127.0.0.1"])
        array = slicedfs.open_dataarray(url, storage_options=s3_server.storage_options, policy=policy)
        np.testing.assert_array_equal(array.values, imagesets.expected(self.layout))
        sent = " ".join(" ".join(request.headers.values()) for request in server.requests)
        assert "test-key" not in sent
        assert "authorization" not in {name for request in server.requests for name in request.headers}

    def test_http_document_s3_tiles(self, tmp_path: Path, serve_http: Any, s3_server: Any) -> None:
        """filesystems= gives the options of the bucket that an http document leads to."""
        bucket = s3_server.new_bucket()
        document = self.apart(tmp_path, f"s3://{bucket}/t")
        s3_server.put_tree(tmp_path / "tiles", bucket, "t")
        server = serve_http(document.parent)
        for key in ("s3", f"s3://{bucket}/"):
            filesystems = {key: s3_server.storage_options}
            array = slicedfs.open_dataarray(f"{server.url}/tileset.json", filesystems=filesystems)
            np.testing.assert_array_equal(array.values, imagesets.expected(self.layout))


class TestNames:
    """References resolve alike on every filesystem."""

    layout = Layout(labels={"r": (0,), "c": (0,), "z": (0, 1)})

    @pytest.mark.parametrize("kind", ["local", "memory", "http", "s3", "gs", "zip"])
    @pytest.mark.parametrize(
        ("reference", "file"),
        [
            ("a b.tiff", "a b.tiff"),
            ("a%20b.tiff", "a b.tiff"),
            ("sub/../t.tiff", "t.tiff"),
            ("./t.tiff", "t.tiff"),
            ("sub/é+ü.tiff", "sub/é+ü.tiff"),
            ("h%231.tiff", "h#1.tiff"),
            ("my%20dir/c.tiff", "my dir/c.tiff"),
            ("[1]&x.tiff", "[1]&x.tiff"),
        ],
    )
    def test_reference(
        self, kind: str, reference: str, file: str, request: pytest.FixtureRequest, tmp_path: Path
    ) -> None:
        """The reference opens the file, with one request."""
        tree = tmp_path / "tree"
        tree.mkdir()
        document = imagesets.write_tile_set(tree, self.layout)
        target = tree / file
        target.parent.mkdir(exist_ok=True)
        first = next(tree.glob("*z0*.tiff"))
        text = document.read_text().replace(f'"{first.name}"', f'"{reference}"')
        first.rename(target)
        document.write_text(text)
        at = PLACES[kind](request, tree)
        array = slicedfs.open_dataarray(at.document("tileset.json"), **at.options)
        np.testing.assert_array_equal(array.values, imagesets.expected(self.layout))

    @pytest.mark.parametrize("kind", ["s3", "gs", "local", "memory"])
    def test_literal_percent(self, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        """A key that holds a percent escape literally is found too, at one extra request for the first tile alone."""
        tree = tmp_path / "tree"
        tree.mkdir()
        document = imagesets.write_tile_set(tree, self.layout)
        text = document.read_text()
        for tile in tree.glob("*.tiff"):
            literal = tile.with_name(f"lit%20{tile.name}")
            text = text.replace(f'"{tile.name}"', f'"{literal.name}"')
            tile.rename(literal)
        document.write_text(text)
        at = PLACES[kind](request, tree)
        array = slicedfs.open_dataarray(at.document("tileset.json"), **at.options)
        np.testing.assert_array_equal(array.values, imagesets.expected(self.layout))

    def test_presigned_query_is_inherited(self, tmp_path: Path, serve_http: Any) -> None:
        """The query of a presigned document goes to its tiles; a tile's own query stays its own."""
        document = imagesets.write_tile_set(tmp_path, self.layout)
        names = sorted(path.name for path in tmp_path.glob("*.tiff"))
        document.write_text(document.read_text().replace(f'"{names[1]}"', f'"{names[1]}?own=2"'))
        server = serve_http(tmp_path)
        array = slicedfs.open_dataarray(f"{server.url}/tileset.json?sig=a%2Bb%3D")
        np.testing.assert_array_equal(array.values, imagesets.expected(self.layout))
        queries = {request.path.rsplit("/", 1)[-1]: request.query for request in server.requests}
        assert queries == {"tileset.json": "sig=a%2Bb%3D", names[0]: "sig=a%2Bb%3D", names[1]: "own=2"}
