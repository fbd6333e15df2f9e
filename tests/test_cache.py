"""tile_cache keeps what was read: no second request, verified, bounded, offline."""

import io
import json
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256

import numpy as np
import pytest

import slicedfs
from slicedfs.store.cache import Cache
from slicedfs.testing import RecordingFileSystem

PIXELS = np.arange(3 * 4 * 5, dtype="<u2").reshape(3, 4, 5)


def npy(array):
    """Return `array` as the bytes of an NPY file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture(params=[True, False], ids=["sha256", "plain"])
def fs(request):
    """Give a set of three tiles, with and without sha256."""
    fs = RecordingFileSystem(name="cache")
    fs.reset()
    tiles = []
    for r in range(3):
        data = npy(PIXELS[r])
        fs.files[f"b/{r}.npy"] = data
        tiles.append({"file": f"{r}.npy", "indices": {"r": r}, "coordinates": {"xc": [0, 1], "yc": [0, 1]}})
        if request.param:
            tiles[-1]["sha256"] = sha256(data).hexdigest()
    document = {"version": "0.1.0", "dimensions": ["r", "y", "x"], "shape": {"r": 3}, "tiles": tiles}
    fs.files["b/set.json"] = json.dumps(document).encode()
    yield fs
    fs.reset()


def opened(cache, **options):
    """Open the set with a cache."""
    return slicedfs.open_dataarray(
        "recording://b/set.json", storage_options={"name": "cache"}, tile_cache=cache, **options
    )


def test_second_read_makes_no_tile_request(fs, tmp_path):
    """The second read asks for the document alone, and gives the same pixels."""
    np.testing.assert_array_equal(opened(tmp_path / "cache").values, PIXELS)
    fs.clear()
    with slicedfs.trace() as seen:
        np.testing.assert_array_equal(opened(tmp_path / "cache").values, PIXELS)
    assert fs.paths == ["b/set.json"]
    assert (seen.requests, seen.tiles, seen.cached) == (1, 3, 3)


def test_part_of_what_is_kept(fs, tmp_path):
    """Tiles that the cache holds are not asked for, those it does not hold are, each once."""
    opened(tmp_path).isel(r=[0, 2]).load()
    fs.clear()
    np.testing.assert_array_equal(opened(tmp_path).values, PIXELS)
    assert fs.paths == ["b/set.json", "b/1.npy"]


def test_offline(fs, tmp_path):
    """Where no server answers, kept documents and tiles are read, with a warning; what was not kept fails."""
    opened(tmp_path).isel(r=[0, 2]).load()
    for path in list(fs.files):
        fs.fail(path, *[ConnectionError("down")] * 40)
    with pytest.warns(slicedfs.SlicedfsWarning, match=r"^recording://b/set\.json cannot be reached, so it is read as"):
        array = opened(tmp_path)
    np.testing.assert_array_equal(array.isel(r=[0, 2]).values, PIXELS[[0, 2]])


def test_absent_and_refused_documents_are_not_replaced(fs, tmp_path):
    """A document that is gone, or forbidden, is an error: the cache does not hide it."""
    opened(tmp_path).load()
    kept = fs.files.pop("b/set.json")
    with pytest.raises(slicedfs.MissingTileError, match=r"recording://b/set\.json"):
        opened(tmp_path)
    fs.files["b/set.json"] = kept


def test_changed_document_and_tile(fs, tmp_path):
    """A document that was written anew meets no tile that was kept for the old one."""
    opened(tmp_path).load()
    changed = PIXELS + 100
    document = json.loads(fs.files["b/set.json"])
    for r, tile in enumerate(document["tiles"]):
        fs.files[f"b/{r}.npy"] = npy(changed[r])
        if "sha256" in tile:
            tile["sha256"] = sha256(fs.files[f"b/{r}.npy"]).hexdigest()
    document["extras"] = {"edition": 2}
    fs.files["b/set.json"] = json.dumps(document).encode()
    np.testing.assert_array_equal(opened(tmp_path).values, changed)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_damaged_files_heal(fs, tmp_path, damage):
    """A kept file that was damaged is read again, never used."""
    opened(tmp_path).load()
    for path in tmp_path.rglob("??/*"):
        stored = bytearray(path.read_bytes())
        if damage == "flip":
            stored[-1] ^= 1
        path.write_bytes(stored[: {"flip": None, "cut": 40, "empty": 0}[damage]])
    fs.clear()
    np.testing.assert_array_equal(opened(tmp_path).values, PIXELS)
    assert sorted(set(fs.paths)) == ["b/0.npy", "b/1.npy", "b/2.npy", "b/set.json"]
    fs.clear()
    np.testing.assert_array_equal(opened(tmp_path).values, PIXELS)
    assert fs.paths == ["b/set.json"]


def test_bounded(tmp_path):
    """The files used longest ago go first, and all together never exceed the bound."""
    cache = Cache(str(tmp_path), 1000)
    for i in range(20):
        key = cache.key(str(i))
        cache.put(key, bytes(100))
        os.utime(tmp_path / key[:2] / key[2:], (i, i))
        assert cache.size()[1] <= 1000
    kept = [i for i in range(20) if cache.get(cache.key(str(i))) is not None]
    assert kept == list(range(20 - len(kept), 20))
    assert len(kept) >= 5
    cache.put(cache.key("large"), bytes(2000))
    assert cache.get(cache.key("large")) is None
    cache.clear()
    assert cache.size() == (0, 0)


def _work(directory):
    cache = Cache(directory, 20_000)
    wrong = 0
    for i in range(300):
        data = bytes([i % 50]) * (100 + i % 50)
        found = cache.get(cache.key(str(i % 50)))
        wrong += found is not None and found != data
        cache.put(cache.key(str(i % 50)), data)
    return wrong


def test_shared_by_processes(tmp_path):
    """Processes that read, write and evict at the same time never see anything but whole, right objects."""
    with ProcessPoolExecutor(3) as pool:
        assert list(pool.map(_work, [str(tmp_path)] * 6)) == [0] * 6
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_disk_errors_do_not_fail_reads(fs, tmp_path):
    """A cache that cannot be written warns once; the pixels come all the same."""
    (tmp_path / "file").write_text("in the way")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(opened(tmp_path / "file").values, PIXELS)
    assert [str(w.message)[:11] for w in caught] == ["tile_cache "]


@pytest.mark.parametrize("fs", [True], indirect=True)
def test_wrong_checksums_are_not_kept(fs, tmp_path):
    """A tile whose sha256 differs enters no cache."""
    good = fs.files["b/1.npy"]
    fs.files["b/1.npy"] = good[:-1] + b"\xff"
    with pytest.raises(slicedfs.ChecksumError, match="read twice"):
        opened(tmp_path).load()
    fs.files["b/1.npy"] = good
    np.testing.assert_array_equal(opened(tmp_path).values, PIXELS)


def test_command_line(fs, tmp_path, capsys):
    """``slicedfs cache`` tells how much is kept, and empties it."""
    from slicedfs.cli import main

    opened(tmp_path).load()
    assert main(["cache", "info", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["objects"] == 5  # a document, a header, three tiles
    assert told["bytes"] == sum(path.stat().st_size for path in tmp_path.rglob("??/*"))
    assert main(["cache", "clear", str(tmp_path)]) == 0
    assert "objects      0" in capsys.readouterr().out
    assert main(["cache", "info", str(tmp_path / "none")]) == 1
    assert "there is no directory" in capsys.readouterr().err
