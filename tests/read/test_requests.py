"""Requests, bytes and round trips of a small window, for every way in which files are written."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from read.files import PLANES, STACKS, planes, stacks, strips_touched
from read.waves import TileBench

STATED = {"slicedfs": {"dtype": "uint16"}}
WINDOW, ELSEWHERE = np.s_[1000:1100, 1000:1100], np.s_[300:400, 1500:1600]
ROWS = 100 * 2048 * 2
"""Bytes of 100 rows of 2048 pixels of two bytes."""
HEADER = 16384


class Row(NamedTuple):
    """What reading a window of 100 x 100 pixels takes, as (requests, longest chain of them)."""

    learned: tuple[int, int]
    """Of the first file, of which nothing is known."""
    header_bytes: int
    """Of it at most, beside what is wanted."""
    other: tuple[int, int]
    """Of another file then."""
    other_bytes: int
    """Of its header at most."""
    known: int = 1
    """Requests where the layout is known; they are sent at once."""


RAW = Row((2, 2), HEADER, (2, 1), 600)
TABLE = {
    "npy": RAW._replace(other_bytes=128),
    "tifffile": RAW,
    "tifffile-plain": RAW,
    "imagej": RAW,
    "ome": RAW,
    "pillow": RAW,
    "big-endian": RAW,
    "bigtiff": RAW,
    "raw-strips": RAW,
    "raw-rows": RAW._replace(other_bytes=13_000),
    "zstd-strips": Row((2, 2), HEADER, (2, 2), HEADER),
    "deflate-tiles": Row((3, 2), HEADER, (3, 2), HEADER, known=2),  # two rows of tiles, far from each other
    "opencv": Row((3, 3), 2 * HEADER, (3, 3), 2 * HEADER),
    "pillow-lzw": Row((3, 3), 2 * HEADER, (3, 3), 2 * HEADER),
}
COMPRESSED = ("zstd-strips", "deflate-tiles", "opencv", "pillow-lzw")


@cache
def pictures() -> list[Any]:
    """Give the pixels of three tiles of 2048 x 2048."""
    return planes(3)


@pytest.fixture(params=list(TABLE), scope="module")
def written(request: pytest.FixtureRequest) -> tuple[str, list[bytes]]:
    """Give the name of a way to write, and three files."""
    return request.param, [PLANES[request.param](picture) for picture in pictures()]


def extension(name: str) -> str:
    """Give the extension of the files of a row."""
    return "npy" if name == "npy" else "tif"


def least(name: str, data: bytes, window: tuple[slice, slice]) -> int:
    """Give the bytes of the rows, or of the compressed strips, that a window touches."""
    if name not in COMPRESSED:
        return ROWS
    y, x = (range(part.start, part.stop) for part in window)
    return strips_touched(data, y, x)


def test_a_window_of_a_picture(written: tuple[str, list[bytes]]) -> None:
    """A window costs its rows or strips, and of files seen first a header; pixels are what the writer was given."""
    name, files = written
    row = TABLE[name]
    with TileBench(f"plane-{name}", files, pictures(), extension(name), {"y": 2048, "x": 2048}, STATED) as bench:
        opened = bench.open_counted()
        assert bench.cost()[:2] == (1, 1)  # the document: nothing has to be asked of a tile

        first = bench.read(opened, 0, *WINDOW)
        assert first[:2] == row.learned
        assert first.n_bytes <= 1.15 * least(name, files[0], WINDOW) + row.header_bytes

        for window in (ELSEWHERE, WINDOW):
            again = bench.read(opened, 0, *window)
            assert again[:2] == (1 if window is ELSEWHERE else row.known, 1)
            assert again.n_bytes <= 1.15 * least(name, files[0], window)

        other = bench.read(opened, 1, *WINDOW)
        assert other[:2] == row.other
        assert other.n_bytes <= 1.15 * least(name, files[1], WINDOW) + row.other_bytes
        assert bench.read(opened, 1, *WINDOW)[:2] == (row.known, 1)


def test_a_window_of_all_pictures(written: tuple[str, list[bytes]]) -> None:
    """A window through all tiles takes as many round trips as one through one of them."""
    name, files = written
    row = TABLE[name]
    with TileBench(f"all-{name}", files, pictures(), extension(name), {"y": 2048, "x": 2048}, STATED) as bench:
        opened = bench.open()
        for cost in (row.learned, (row.known, 1)):
            bench.fs.clear()
            found = opened[(slice(None), *WINDOW)].values
            np.testing.assert_array_equal(found, np.stack([picture[WINDOW] for picture in pictures()]))
            assert bench.cost()[:2] == (3 * cost[0], cost[1])
        assert bench.cost().n_bytes <= 1.15 * sum(least(name, data, WINDOW) for data in files)


def test_a_header_that_was_read_at_open(written: tuple[str, list[bytes]]) -> None:
    """Where opening read the header of a file, the layout of plain files is known from there, and confirmed by each."""
    name, files = written
    row = TABLE[name]
    with TileBench(f"open-{name}", files, pictures(), extension(name)) as bench:
        opened = bench.open_counted()
        requests, depth, n_bytes = bench.cost()
        assert requests == depth <= 3  # the document, the header, and the directory where it lies at the end
        assert n_bytes <= len(bench.fs.files["b/set.json"]) + 2 * HEADER
        first = bench.read(opened, 2, *WINDOW)
        assert first[:2] == row.other
        assert first.n_bytes <= 1.15 * least(name, files[2], WINDOW) + row.other_bytes


# stacks

PLANE_WINDOW = (12, slice(100, 200), slice(100, 200))
PLANE_ROWS = 100 * 512 * 2
STACK_TABLE = {
    "npy": RAW._replace(other_bytes=128),
    "contiguous": RAW,
    "imagej": RAW,
    "pagewise": Row((4, 3), 3 * HEADER, (3, 1), 600, known=2),  # the directory of the plane, to prove where it lies
    "opencv": Row((7, 6), 6 * HEADER, (3, 1), 3000, known=2),
    "pillow": Row((4, 3), 3 * HEADER, (3, 1), 600, known=2),
}


@cache
def volumes() -> list[Any]:
    """Give the pixels of three tiles of 20 planes of 512 x 512."""
    return stacks(3)


@pytest.fixture
def stack(request: pytest.FixtureRequest) -> Iterator[tuple[TileBench, list[bytes]]]:
    """Give a tile set of three stacks, written in the way that the parameter names, and their files."""
    files = [STACKS[request.param](volume) for volume in volumes()]
    shape = {"z": 20, "y": 512, "x": 512}
    with TileBench(f"stack-{request.param}", files, volumes(), extension(request.param), shape, STATED) as bench:
        yield bench, files


@pytest.mark.parametrize(("stack", "row"), STACK_TABLE.items(), indirect=["stack"], ids=list(STACK_TABLE))
def test_a_window_of_one_plane(stack: tuple[TileBench, list[bytes]], row: Row) -> None:
    """A window of one plane of a stack costs its rows; directories are found without walking from page to page."""
    bench, _ = stack
    opened = bench.open()
    first = bench.read(opened, 0, *PLANE_WINDOW)
    assert first[:2] == row.learned
    assert first.n_bytes <= PLANE_ROWS + row.header_bytes
    assert bench.read(opened, 0, *PLANE_WINDOW)[:2] == (row.known, 1)
    other = bench.read(opened, 1, *PLANE_WINDOW)
    assert other[:2] == row.other
    assert other.n_bytes <= 1.15 * PLANE_ROWS + row.other_bytes
    elsewhere = bench.read(opened, 1, 3, slice(300, 400), slice(0, 512))
    assert elsewhere[:2] == (row.known, 1)
    assert elsewhere.n_bytes <= 1.15 * PLANE_ROWS


@pytest.mark.parametrize(("stack", "row"), STACK_TABLE.items(), indirect=["stack"], ids=list(STACK_TABLE))
def test_rows_of_all_planes(stack: tuple[TileBench, list[bytes]], row: Row) -> None:
    """Rows of all planes are asked for at once, each plane's for themselves: what lies between them does not come."""
    bench, _ = stack
    opened = bench.open()
    bench.read(opened, 0, *PLANE_WINDOW)
    cost = bench.read(opened, 0, slice(None), slice(200, 210), slice(None))
    assert cost.depth == 1
    assert cost.requests <= 20 * row.known
    assert cost.n_bytes <= 1.15 * 20 * (10 * 512 * 2 + (row.known - 1) * 1500)


@pytest.mark.parametrize("stack", ["zstd-strips"], indirect=True)
def test_a_compressed_stack_is_read_whole(stack: tuple[TileBench, list[bytes]]) -> None:
    """Directories that are spread over the file are not walked to the end: the file is read whole, then kept."""
    bench, files = stack
    opened = bench.open()
    first = bench.read(opened, 0, *PLANE_WINDOW)
    assert first.requests <= 7
    assert first.n_bytes <= len(files[0]) + 6 * HEADER
    assert bench.read(opened, 0, 3, slice(None), slice(None)) == (0, 0, 0)
    assert bench.read(opened, 1, *PLANE_WINDOW) == (1, 1, len(files[1]))
