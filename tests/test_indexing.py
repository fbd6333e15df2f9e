"""``slicedfs.indexing.index``: opening an index is opening its document, without reading that."""

import gzip
import hashlib
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import xarray as xr
from smallsets import Bench, npy, plane, tile, tile_set

import slicedfs
from slicedfs.cli import main
from slicedfs.errors import ManifestError, MissingTileError, StoreError, UrlPolicyError
from slicedfs.indexing import index
from slicedfs.manifest import Made, pack, parse
from slicedfs.resolver import Session
from slicedfs.store import StoreOptions, run

SUFFIX = ".slicedfs-index"


def small_set(**more):
    """Give the document of three tiles t0.npy to t2.npy, along r and c; one position is empty."""
    entries = [tile(f"t{i}.npy", {"xc": [i, i + 1.0]}, r=i // 2, c=i % 2) for i in range(3)]
    for number, entry in enumerate(entries):
        entry["sha256"] = hashlib.sha256(npy(plane(number))).hexdigest()
    return tile_set(entries, {"r": 2, "c": 2}, **more)


def zipped(folder):
    """Give an archive with set.json."""
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("set.json", json.dumps(small_set()))
    return folder / "a.zip"


def pixels():
    """Give what the array of `small_set` holds."""
    return np.stack([plane(0), plane(1), plane(2), np.zeros((2, 3), np.uint16)]).reshape(2, 2, 2, 3)


@pytest.fixture
def folder(tmp_path):
    """Give a directory with "my set.json" and its tiles."""
    (tmp_path / "my set.json").write_text(json.dumps(small_set(extras={"k": [1]})))
    for number in range(3):
        (tmp_path / f"t{number}.npy").write_bytes(npy(plane(number)))
    return tmp_path


@pytest.fixture
def bench():
    """Give files in memory, of which requests are recorded."""
    with Bench("indexing") as bench:
        bench.put_set(small_set()["tiles"], {"r": 2, "c": 2})
        yield bench


def packed(document, reference="./set.json", url="recording://b/set.json"):
    """Give the index of a document that is given as a value."""
    data = json.dumps(document).encode()
    return b"".join(pack(parse(data, url), Made(reference, hashlib.sha256(data).hexdigest())))


def test_local(folder):
    """The index of a local document opens as the document does: equal node, equal array."""
    document = folder / "my set.json"
    url = index(document)
    assert url == f"file://{document}{SUFFIX}"
    assert sorted(path.name for path in folder.iterdir()) == [
        "my set.json",
        f"my set.json{SUFFIX}",
        "t0.npy",
        "t1.npy",
        "t2.npy",
    ]
    node, plain = slicedfs.open(url), slicedfs.open(document)
    assert (node.extras, node.shape, node.dimensions) == (plain.extras, plain.shape, plain.dimensions)
    xr.testing.assert_equal(node.tiles.to_pandas().to_xarray(), plain.tiles.to_pandas().to_xarray())
    image = slicedfs.open_dataarray(str(document) + SUFFIX)
    xr.testing.assert_identical(image.drop_attrs(), slicedfs.open_dataarray(document).drop_attrs())
    np.testing.assert_array_equal(image.values, pixels())


def test_document_is_not_needed(folder):
    """An index stands alone: its document may be gone."""
    index(folder / "my set.json")
    (folder / "my set.json").unlink()
    np.testing.assert_array_equal(slicedfs.open_dataarray(folder / f"my set.json{SUFFIX}").values, pixels())


def test_pickles(folder):
    """An array that was opened by an index pickles as a reference to the index, and reads the same elsewhere."""
    image = slicedfs.open_dataarray(index(folder / "my set.json"))
    data = pickle.dumps(image)
    assert len(data) < 20_000
    np.testing.assert_array_equal(pickle.loads(data).values, pixels())
    node = slicedfs.open(folder / f"my set.json{SUFFIX}")
    assert pickle.loads(pickle.dumps(node)).tiles.files[2] == "t2.npy"


def test_stale(folder):
    """An index whose document has changed is refused, also where the document kept its size."""
    document = folder / "my set.json"
    url = index(document)
    text = document.read_text()
    document.write_text(text.replace("t2.npy", "t0.npy"))
    with pytest.raises(ManifestError, match=r"is the index of file://.*my set\.json, which has changed since\. "):
        slicedfs.open(url)
    document.write_text(text + " ")
    with pytest.raises(ManifestError, match="has changed since"):
        slicedfs.open(url)
    index(document)
    assert len(slicedfs.open(url).tiles) == 3


def test_copied(folder, tmp_path):
    """A document that was copied along with its index, and so has another time, has not changed."""
    index(folder / "my set.json")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.glob("*.*"):
        shutil.copy(path, copy)
    os.utime(copy / "my set.json", (1, 1))
    np.testing.assert_array_equal(slicedfs.open_dataarray(copy / f"my set.json{SUFFIX}").values, pixels())


def test_remote_is_one_request(bench):
    """Elsewhere, opening an index is one request; the document is not asked for."""
    bench.fs.files[f"b/set.json{SUFFIX}"] = packed(small_set())
    bench.fs.clear()
    node = slicedfs.open(bench.url(f"set.json{SUFFIX}"), storage_options=bench.options)
    assert bench.read == [f"set.json{SUFFIX}"]
    assert len(node.tiles) == 3
    np.testing.assert_array_equal(bench.open(f"set.json{SUFFIX}").values, pixels())
    assert sorted(bench.read) == ["t0.npy", "t1.npy", "t2.npy"]


def test_members_of_a_collection(bench):
    """A collection may list indexes as its members."""
    bench.fs.files[f"b/set.json{SUFFIX}"] = packed(small_set())
    bench.put(root={"version": "0.1.0", "contents": {"a": f"set.json{SUFFIX}"}})
    np.testing.assert_array_equal(bench.open("root.json", group="a").values, pixels())


def test_written_elsewhere(folder, tmp_path):
    """An index in another directory names its document by its whole URL."""
    out = tmp_path / "indexes" / f"one{SUFFIX}"
    out.parent.mkdir()
    assert index(folder / "my set.json", out) == out.as_uri()
    np.testing.assert_array_equal(slicedfs.open_dataarray(out).values, pixels())


def test_written_to_a_filesystem():
    """An index is written beside a document on any filesystem that can be written."""
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        memory.pipe_file("/indexing/set.json", json.dumps(small_set()).encode())
        for number in range(3):
            memory.pipe_file(f"/indexing/t{number}.npy", npy(plane(number)))
        url = index("memory://indexing/set.json")
        assert url == f"memory://indexing/set.json{SUFFIX}"
        np.testing.assert_array_equal(slicedfs.open_dataarray(url).values, pixels())
    finally:
        memory.rm("/indexing", recursive=True)


@pytest.mark.parametrize("is_gzip", [False, True])
def test_may_not_lead_anywhere(bench, is_gzip):
    """An index cannot lend its tiles the rights of another document: a remote one cannot stand for a local file."""
    data = packed(small_set(), "file:///etc/set.json")
    bench.fs.files["b/bad.json"] = gzip.compress(data) if is_gzip else data
    with pytest.raises(UrlPolicyError, match=r"file:///etc/set\.json"):
        slicedfs.open(bench.url("bad.json"), storage_options=bench.options)


def test_changes_while_it_is_read(folder):
    """A document that changes while it is indexed is refused."""
    document = folder / "my set.json"

    class Meddling(Session):
        async def document(self, url, ancestors=()):
            opened = await super().document(url, ancestors)
            document.write_text(document.read_text() + " ")
            return opened

    from slicedfs.indexing import _read

    with pytest.raises(StoreError, match=r"my set\.json changed while it was read\. Try again\."):
        run(_read, Meddling(StoreOptions(root=document.as_uri())), [])


def test_refused(folder):
    """What has no index, or nowhere to lie, is refused with what to do."""
    (folder / "root.json").write_text(json.dumps({"version": "0.1.0", "contents": {"one": "my%20set.json"}}))
    with pytest.raises(ManifestError, match=r"is a collection, and only tile sets have an index\. Write one for each"):
        index(folder / "root.json")
    with pytest.raises(ManifestError, match=r"is an index already\. Give the document"):
        index(index(folder / "my set.json"), folder / "again")
    with pytest.raises(MissingTileError, match=r"none\.json"):
        index(folder / "none.json")
    with pytest.raises(ValueError, match=r"cannot be written beside, so say where the index shall lie \(out=, --out\)"):
        index(f"zip://set.json::file://{zipped(folder)}")
    assert sorted(path.name for path in folder.glob("*again*")) == []


def test_nothing_half_written(folder, monkeypatch):
    """Where writing fails nothing is left, and what was there before stays."""
    target = folder / f"my set.json{SUFFIX}"
    target.write_bytes(b"old")
    document = json.loads((folder / "my set.json").read_text())
    document["extras"] = 1
    (folder / "my set.json").write_text(json.dumps(document))

    def broken(*_):
        yield b"new"
        raise OSError("disk full")

    monkeypatch.setattr("slicedfs.indexing.pack", broken)
    with pytest.raises(OSError, match="disk full"):
        index(folder / "my set.json")
    assert target.read_bytes() == b"old"
    assert len(list(folder.iterdir())) == 5


def test_damaged_file(folder):
    """A local index that is cut off, or no index at all, says so."""
    target = folder / f"my set.json{SUFFIX}"
    index(folder / "my set.json")
    target.write_bytes(target.read_bytes()[:-1])
    with pytest.raises(ManifestError, match="is a damaged index: its body has"):
        slicedfs.open(target)
    target.write_bytes(b"")
    with pytest.raises(ManifestError, match="The document is empty"):
        slicedfs.open(target)
    target.unlink()
    with pytest.raises(MissingTileError, match=r"slicedfs-index"):
        slicedfs.open(target)


def test_command(folder, capsys):
    """``slicedfs index`` writes the index and prints where it is; errors are one line."""
    assert main(["index", str(folder / "my set.json")]) == 0
    assert capsys.readouterr().out == f"file://{folder}/my set.json{SUFFIX}\n"
    out = folder / f"other{SUFFIX}"
    assert main(["index", str(folder / "my set.json"), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"url": out.as_uri()}
    assert main(["index", str(folder / "none.json")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
