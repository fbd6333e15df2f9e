"""TileSet.tiles.to_pandas(): one row a tile."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smallsets import Bench, tile

import slicedfs
from slicedfs.errors import ManifestError
from slicedfs.model import Strings, Tiles, TileSetDocument
from slicedfs.show.tiletable import TileTable
from slicedfs.url import join, redact

SHA = "0123456789abcdef" * 4


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give files in memory."""
    with Bench("tile table") as made:
        yield made


def table(bench: Bench, tiles: list[dict[str, Any]], **more: Any) -> pd.DataFrame:
    """Give the table of a tile set, which takes no request beside the document."""
    bench.put_set(tiles, {"r": 2, "c": 1}, **more)
    node = slicedfs.open(bench.url(), storage_options=bench.options)
    assert isinstance(node, slicedfs.TileSet)
    bench.fs.clear()
    found = node.tiles.to_pandas()
    assert bench.read == []
    return found


def document(files: list[str], url: str = "https://h.example/d/set.json", **columns: Any) -> TileSetDocument:
    """Give a document of tiles with the given references, at r = 0, 1 and so on."""
    indices = {"r": np.arange(len(files))}
    tiles = Tiles(files=Strings.pack(files), indices=indices, coordinates=columns.pop("coordinates", {}), **columns)
    return TileSetDocument(url=url, version="0.1.0", dimensions=("r",), shape={"r": len(files)}, tiles=tiles)


def test_columns(bench: Bench) -> None:
    """Each row has labels, ordered ranges, file, URL, format, shape, digest, extras and unknown keys."""
    first = tile("a.npy", {"xc": [3, 0], "zc": 1.5}, r=0, c=0)
    first |= {"sha256": SHA.upper(), "tile_format": "NUMPY", "tile_shape": {"y": 2, "x": 3}}
    first |= {"extras": {"k": [1]}, "odd": True}
    second = tile("sub/b.tiff", {"xc": [0, 3]}, r=1, c=0)
    found = table(bench, [first, second], default_tile_format="TIFF", default_tile_shape={"x": 5, "y": 4})
    ranges = ["xc_min", "xc_max", "zc_min", "zc_max"]
    rest = ["file", "url", "format", "shape", "sha256", "extras", "unknown"]
    assert list(found) == ["r", "c", *ranges, *rest]
    assert found[["r", "c"]].values.tolist() == [[0, 0], [1, 0]]
    np.testing.assert_array_equal(found[ranges].values, [[0, 3, 1.5, 1.5], [0, 3, np.nan, np.nan]])
    assert found["file"].tolist() == ["a.npy", "sub/b.tiff"]
    assert found["url"].tolist() == ["recording://b/a.npy", "recording://b/sub/b.tiff"]
    assert found["format"].tolist() == ["NUMPY", "TIFF"]
    assert found["shape"].tolist() == [(2, 3), (4, 5)]
    assert found["sha256"].tolist()[0] == SHA
    assert found["extras"].tolist() == [{"k": [1]}, None]
    assert found["unknown"].tolist() == [{"odd": True}, None]
    assert pd.isna(found["sha256"].iloc[1])
    assert isinstance(found["format"].dtype, pd.CategoricalDtype)


def test_nothing_stated(bench: Bench) -> None:
    """Formats, shapes and digests that nobody states are empty."""
    found = table(bench, [tile("a.npy", r=0), tile("b.npy", r=1)])
    assert found[["format", "shape", "sha256", "extras", "unknown"]].isna().all(axis=None)


def test_no_tiles(bench: Bench) -> None:
    """A tile set without tiles gives a table without rows."""
    found = table(bench, [])
    assert len(found) == 0
    assert list(found)[-7:] == ["file", "url", "format", "shape", "sha256", "extras", "unknown"]


def test_names_of_columns_clash() -> None:
    """A dim that is called as a column gets another name."""
    tiles = Tiles(files=Strings.pack(["a"]), indices={"file": np.array([7]), "r": np.array([1])}, coordinates={})
    found = TileTable.of(TileSetDocument("s3://b/s.json", "0.1.0", (), {}, tiles)).to_pandas()
    assert found[["file_label", "r"]].values.tolist() == [[7, 1]]
    assert found["file"].tolist() == ["a"]


def test_urls_show_no_secrets() -> None:
    """The query that tiles inherit is not shown; the reference is, as it is in the document."""
    base = "https://user:password@h.example/d/set.json?sig=secret"
    found = TileTable.of(document(["t.npy", "../up.npy", "http://o.example/x?key=1"], base)).to_pandas()
    assert found["url"].tolist() == [
        "https://h.example/d/t.npy?sig=…",
        "https://h.example/up.npy",
        "http://o.example/x?key=…",
    ]
    assert found["file"].tolist()[2] == "http://o.example/x?key=1"


def test_references_that_lead_nowhere() -> None:
    """A reference that cannot be resolved has no URL, and does not keep the others from the table."""
    found = TileTable.of(document(["a.npy", "https://[/x", "b.npy"])).to_pandas()
    assert found["url"].isna().tolist() == [False, True, False]


@given(st.lists(st.text(st.sampled_from("ab.-_/%:é ?#~A0\\"), min_size=1, max_size=12), min_size=1, max_size=5))
def test_urls_are_those_of_the_resolver(files: list[str]) -> None:
    """Every URL is what resolving that reference alone gives, redacted, whatever the reference looks like."""
    for base in ("https://h.example/d/e/set.json?a=1", "s3://b/d%20e/set.json"):
        expected: list[str | None] = []
        for file in files:
            try:
                expected.append(redact(join(base, file)))
            except ManifestError:
                expected.append(None)
        found = TileTable.of(document(files, base)).to_pandas()["url"]
        assert [None if pd.isna(url) else url for url in found] == expected


def test_names_beyond_ascii() -> None:
    """References in any script come out as they are."""
    names = ["größe.npy", "日本.npy", "a.npy"]
    assert TileTable.of(document(names)).to_pandas()["file"].tolist() == names


def test_a_million_tiles() -> None:
    """A million tiles give a million rows, those of the columns."""
    count = 1_000_000
    digests = np.zeros((count, 32), np.uint8)
    digests[:, 31] = np.arange(count) % 256
    has = np.arange(count) % 2 == 0
    ranges = np.stack([np.arange(count), np.arange(count) + 1.0], axis=1)
    files = [f"t/{i}.npy" for i in range(count)]
    source = document(files, coordinates={"xc": ranges}, sha256=digests, has_sha256=has)
    found = TileTable.of(source).to_pandas()
    assert len(found) == count
    last = found.iloc[-2]
    assert (last["r"], last["xc_max"], last["file"]) == (999_998, 999_999.0, "t/999998.npy")
    assert last["url"] == "https://h.example/d/t/999998.npy"
    assert last["sha256"] == "00" * 31 + "3e"  # 999998 = 3906 * 256 + 62
    assert found["sha256"].isna().sum() == count // 2


def test_tiles_are_still_columns(bench: Bench) -> None:
    """What ``tiles`` gives is the columns of the document, not copies of them."""
    bench.put_set([tile("a.npy", r=0), tile("b.npy", r=1)], {"r": 2})
    node = slicedfs.open(bench.url(), storage_options=bench.options)
    assert isinstance(node, slicedfs.TileSet)
    assert isinstance(node.tiles, Tiles)
    assert node.tiles.indices["r"] is node.document.tiles.indices["r"]
    assert list(node.tiles.files) == ["a.npy", "b.npy"]
