"""Layouts that the document states: no request for a header, and no garbage where they are wrong."""

from typing import Any

import pytest
from read.files import PLANES
from read.sets import PICTURES, SHAPE, WINDOW, bench_of
from read.waves import TileBench
from tilefiles import npy_bytes


def hinted(name: str, hint: dict[str, Any], files: list[bytes], **options: Any) -> TileBench:
    """Give a tile set whose document states the layout of its files."""
    extras = {"slicedfs": {"dtype": "uint16", "layout": {"kind": "raw"} | hint}}
    return bench_of(name, files, extras=extras, shape=SHAPE, **options)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("npy", {"offset": 128, "dtype": "<u2", "order": "C"}),
        ("tifffile", {"offset": 256, "dtype": "<u2", "order": "C"}),
        ("pillow", {"offset": 122, "dtype": "<u2", "order": "C"}),
        ("big-endian", {"offset": 256, "dtype": ">u2", "order": "C"}),
    ],
)
def test_a_stated_layout(name: str, hint: dict[str, Any]) -> None:
    """Where the document states the layout, a window is one request of its rows from the first read on."""
    files = [PLANES[name](picture) for picture in PICTURES]
    with hinted(f"hint-{name}", hint, files, extension="npy" if name == "npy" else "tif") as bench:
        opened = bench.open_counted()
        assert bench.cost()[:2] == (1, 1)
        cost = bench.read(opened, 1, *WINDOW)
        assert cost[:2] == (1, 1)
        assert cost.n_bytes <= 40 * 600 * 2
        bench.fs.clear()
        opened[(slice(None), *WINDOW)].load()
        assert bench.cost()[:2] == (3, 1)


@pytest.mark.parametrize(
    "hint",
    [
        {"offset": 128, "dtype": "<u2", "order": "C", "size": 5_000_000},
        {"offset": 900_000, "dtype": "<u2", "order": "C"},
    ],
    ids=["size", "offset"],
)
def test_a_wrong_hint_that_the_size_shows(near: None, hint: dict[str, Any]) -> None:
    """Where the file is shorter than stated, its own header counts."""
    files = [npy_bytes(picture) for picture in PICTURES]
    with hinted("wrong", hint, files, extension="npy") as bench:
        opened = bench.open()
        bench.read(opened, 0, slice(650, 690), slice(0, 40))
        bench.read(opened, 1, slice(650, 690), slice(0, 40))


@pytest.mark.parametrize(
    "hint",
    [
        {"kind": "tiff", "offset": 0, "dtype": "<u2", "order": "C"},
        {"offset": -1, "dtype": "<u2", "order": "C"},
        {"offset": 128, "dtype": "|O", "order": "C"},
        {"offset": 128, "dtype": "<u2", "order": "K"},
        {"offset": "128", "dtype": "<u2", "order": "C"},
        {"offset": 128, "dtype": "<u2", "order": "C", "newer": 1},
    ],
    ids=str,
)
def test_a_hint_that_is_not_understood(near: None, hint: dict[str, Any]) -> None:
    """A hint that is not understood counts as none."""
    files = [npy_bytes(picture) for picture in PICTURES]
    with hinted("unread", hint, files, extension="npy") as bench:
        assert bench.read(bench.open(), 0, *WINDOW)[:2] == (2, 2)


@pytest.mark.parametrize("layout", [3, "raw", None, [], {}], ids=repr)
def test_a_hint_of_any_type(near: None, layout: Any) -> None:
    """Whatever stands in the place of the hint, the set can be read."""
    files = [npy_bytes(picture) for picture in PICTURES]
    extras = {"slicedfs": {"dtype": "uint16", "layout": layout}}
    with bench_of("type", files, extension="npy", shape=SHAPE, extras=extras) as bench:
        assert bench.read(bench.open(), 0, *WINDOW)[:2] == (2, 2)
