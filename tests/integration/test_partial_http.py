"""Parts of tiles over HTTP: what the server is asked for, files that change, servers without ranges."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from aiohttp import web
from httpserver import HttpServer
from tilefiles import npy_by_hand, npy_bytes, tiff_bytes

import slicedfs
from slicedfs import CodecError, StoreError
from slicedfs.store import pace as paces

SHAPE = (1200, 1000)
PICTURES = [np.random.default_rng(r).integers(0, 60000, SHAPE, dtype="uint16") for r in range(4)]
WINDOW = (slice(600, 640), slice(100, 140))
ROWS = 39 * 2000 + 40 * 2
"""Bytes from the first to the last pixel of the window."""


@pytest.fixture(autouse=True)
def _near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every server to be one of 1 ms and 50 MB/s, whatever is measured; nothing is sent twice."""
    monkeypatch.setattr(paces.Pace, "seen", lambda *_, **__: None)
    monkeypatch.setattr(paces, "_GUESS_S", 0.001)
    monkeypatch.setattr(paces, "_HEDGE_S", 1000.0)


class Lake(HttpServer):
    """A tile set over HTTP, with something to do before each answer."""

    def __init__(self, directory: Path, **options: Any) -> None:
        super().__init__(directory, **options)
        self.before: Callable[[web.Request], web.Response | None] = lambda request: None
        self.hold: Callable[[web.Request], Awaitable[None]] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        """Do what is to be done, then answer."""
        if self.hold is not None:
            await self.hold(request)
        return self.before(request) or await super().answer(request)

    def put(self, *files: bytes, extension: str = "npy", **more: Any) -> None:
        """Write a tile set of these files."""
        for r, content in enumerate(files):
            (self.directory / f"t{r}.{extension}").write_bytes(content)
        document = {
            "version": "0.1.0", "dimensions": ["r", "y", "x"], "shape": {"r": len(files)},
            "default_tile_shape": {"y": SHAPE[0], "x": SHAPE[1]}, "extras": {"slicedfs": {"dtype": "uint16"}},
            "tiles": [{"file": f"t{r}.{extension}", "coordinates": {}, "indices": {"r": r}} for r in range(len(files))],
        }  # fmt: skip
        (self.directory / "set.json").write_text(json.dumps(document | more))

    def open(self, **options: Any) -> Any:
        """Open the tile set, and forget the requests that this took."""
        opened = slicedfs.open_dataarray(f"{self.url}/set.json", **options)
        self.clear()
        return opened

    def window(self, opened: Any, r: int) -> Any:
        """Read the window of a tile, with the requests of that alone on record."""
        self.clear()
        return opened[(r, *WINDOW)].values

    @property
    def ranges(self) -> list[tuple[str, str | None, int]]:
        """What was asked for, in the order of names: file, range, bytes sent."""
        return sorted((each.path[1:], each.range, each.sent) for each in self.requests)


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """Give an empty server."""
    with Lake(tmp_path) as server:
        yield server


def first_byte(offset: int) -> int:
    """Give the first byte of the window in a file whose pixels begin at `offset`."""
    return offset + (600 * 1000 + 100) * 2


# what is asked for


def test_ranges_at_the_server(lake: Lake) -> None:
    """The server is asked for the header and the rows, once for a file; it sends no byte more."""
    lake.put(*map(npy_bytes, PICTURES))
    opened, at = lake.open(), first_byte(128)
    rows = f"bytes={at}-{at + ROWS - 1}"
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[0][WINDOW])
    assert lake.ranges == [("t0.npy", "bytes=0-16383", 16384), ("t0.npy", rows, ROWS)]
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[0][WINDOW])
    assert lake.ranges == [("t0.npy", rows, ROWS)]
    np.testing.assert_array_equal(lake.window(opened, 1), PICTURES[1][WINDOW])
    assert lake.ranges == [("t1.npy", "bytes=0-127", 128), ("t1.npy", rows, ROWS)]
    assert {each.headers["accept-encoding"] for each in lake.requests} == {"identity"}


def test_all_tiles_at_once(lake: Lake) -> None:
    """A window through all tiles is one request each, once their headers were seen."""
    lake.put(*map(npy_bytes, PICTURES))
    opened = lake.open()
    opened[(slice(None), *WINDOW)].load()
    lake.clear()
    found = opened[(slice(None), *WINDOW)].values
    np.testing.assert_array_equal(found, np.stack([picture[WINDOW] for picture in PICTURES]))
    assert [(path, sent) for path, _, sent in lake.ranges] == [(f"t{r}.npy", ROWS) for r in range(4)]


def test_a_stated_layout(lake: Lake) -> None:
    """With a hint in the document, opening reads the document alone, and a window is one request."""
    hint = {"kind": "raw", "offset": 256, "dtype": "<u2", "order": "C"}
    extras = {"slicedfs": {"dtype": "uint16", "layout": hint}}
    lake.put(*map(tiff_bytes, PICTURES), extension="tif", extras=extras)
    opened = slicedfs.open_dataarray(f"{lake.url}/set.json")
    assert [each.path for each in lake.requests] == ["/set.json"]
    np.testing.assert_array_equal(lake.window(opened, 2), PICTURES[2][WINDOW])
    at = first_byte(256)
    assert lake.ranges == [("t2.tif", f"bytes={at}-{at + ROWS - 1}", ROWS)]


def test_a_wrong_size_in_the_hint(lake: Lake) -> None:
    """Where the server tells a size that contradicts the stated layout, the header of the file counts."""
    hint = {"kind": "raw", "offset": 512, "dtype": "<u2", "order": "C", "size": 512 + 2_400_000}
    lake.put(*map(npy_bytes, PICTURES), extras={"slicedfs": {"dtype": "uint16", "layout": hint}})
    opened = lake.open()
    for r in (0, 1):
        np.testing.assert_array_equal(lake.window(opened, r), PICTURES[r][WINDOW])


def test_a_file_longer_than_the_hint_states(lake: Lake) -> None:
    """Where a file is longer than the document states, the stated layout is not its: its header counts."""
    hint = {"kind": "raw", "offset": 128, "dtype": "<u2", "order": "C", "size": 128 + 2_400_000}
    lake.put(*map(tiff_bytes, PICTURES), extension="tif", extras={"slicedfs": {"dtype": "uint16", "layout": hint}})
    np.testing.assert_array_equal(lake.window(lake.open(), 0), PICTURES[0][WINDOW])


# servers without ranges


def test_a_server_that_ignores_ranges(tmp_path: Path) -> None:
    """A server that sends whole files for ranges is asked for whole files from then on: one request a tile."""
    with Lake(tmp_path, ignore_range=True) as lake:
        lake.put(*map(npy_bytes, PICTURES))

        def tell(request: web.Request) -> web.Response | None:
            body = (lake.directory / request.path[1:]).read_bytes()
            return web.Response(body=body, headers={"ETag": '"1"'})  # no Accept-Ranges

        lake.before = tell
        opened = lake.open()
        np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[0][WINDOW])
        assert len(lake.requests) <= 2
        for r in (1, 2, 3):
            np.testing.assert_array_equal(lake.window(opened, r), PICTURES[r][WINDOW])
            assert lake.ranges == [(f"t{r}.npy", None, len(npy_bytes(PICTURES[r])))]


def test_all_tiles_of_a_server_that_ignores_ranges(tmp_path: Path) -> None:
    """Where all tiles are asked for before it is known, none is asked for more than twice."""
    with Lake(tmp_path, ignore_range=True) as lake:
        lake.put(*map(npy_bytes, PICTURES))
        opened = lake.open()
        found = opened[(slice(None), *WINDOW)].values
        np.testing.assert_array_equal(found, np.stack([picture[WINDOW] for picture in PICTURES]))
        assert len(lake.requests) <= 8


def test_a_server_that_promises_ranges_and_ignores_them(tmp_path: Path) -> None:
    """Where "Accept-Ranges: bytes" is not kept to, no file is sent more than once a read after the first."""
    with Lake(tmp_path, ignore_range=True) as lake:
        tiles = [tiff_bytes(picture, tile=(128, 128)) for picture in PICTURES]
        lake.put(*tiles, extension="tif")
        opened = lake.open()
        lake.window(opened, 0)
        lake.clear()
        spread = opened[1, 100:500, 0:20].values  # four rows of tiles, far from each other
        np.testing.assert_array_equal(spread, PICTURES[1][100:500, 0:20])
        assert len(lake.requests) == 1


# files that change


def overwrite(lake: Lake, number: int, content: bytes) -> Callable[[web.Request], None]:
    """Give what overwrites t0 before the answer to its request `number`."""
    count = 0

    def before(request: web.Request) -> None:
        nonlocal count
        if request.path.startswith("/t0"):
            count += 1
            if count == number:
                path = lake.directory / request.path[1:]
                path.unlink()
                path.write_bytes(content)

    return before


CHANGED = r"127\.0\.0\.1:\d+/t0\.(npy|tif) changed while it was read \((ETag|size) .* then .*\)\. Read it again\."


@pytest.mark.parametrize("extension", ["npy", "tif"])
def test_changed_between_header_and_rows(lake: Lake, extension: str) -> None:
    """A file that is overwritten after its header was read, and before its rows are, is an error that names it."""
    write = npy_bytes if extension == "npy" else tiff_bytes
    lake.put(*map(write, PICTURES), extension=extension)
    opened = lake.open()
    lake.before = overwrite(lake, 2, write(PICTURES[3]) + b"longer")
    with pytest.raises(StoreError, match=CHANGED):
        lake.window(opened, 0)
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[3][WINDOW])


def test_changed_between_header_and_rows_sent_at_once(lake: Lake) -> None:
    """The same where header and rows are asked for at once, and the first answer is of the old file."""
    lake.put(*map(npy_bytes, PICTURES))
    opened = lake.open()
    lake.window(opened, 1)  # the layout is known from here
    lake.before = overwrite(lake, 2, npy_bytes(PICTURES[3]) + b"longer")
    with pytest.raises(StoreError, match=CHANGED):
        lake.window(opened, 0)
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[3][WINDOW])


def test_changed_between_two_ranges(lake: Lake) -> None:
    """The same between two parts of one file."""
    lake.put(*map(npy_bytes, PICTURES))
    tiled = [tiff_bytes(picture, tile=(256, 256), compression="zlib") for picture in PICTURES]
    lake.put(*tiled, extension="tif")
    opened = lake.open(gap_bytes=0)
    lake.window(opened, 0)
    two_rows = (0, slice(500, 520), slice(0, 20))  # of tiles
    lake.clear()
    opened[two_rows].load()
    assert len(lake.requests) == 2
    lake.before = overwrite(lake, 2, tiled[3] + b"longer")
    with pytest.raises(StoreError, match=CHANGED):
        opened[two_rows].load()


REWRITTEN = {
    "npy-big-endian": ("npy", lambda a: npy_bytes(a.astype(">u2"))),
    "npy-fortran": ("npy", lambda a: npy_bytes(np.asfortranarray(a))),
    "npy-longer-header": (
        "npy",
        lambda a: npy_by_hand(
            f"{{'descr': '<u2', 'fortran_order': False, 'shape': {a.shape}, }}" + " " * 400 + "\n", a.tobytes()
        ),
    ),
    "npy-same-header": ("npy", npy_bytes),
    "tiff-longer-description": ("tif", lambda a: tiff_bytes(a, description="d" * 400, metadata=None)),
    "tiff-big-endian": ("tif", lambda a: tiff_bytes(a, byteorder=">")),
    "tiff-compressed": ("tif", lambda a: tiff_bytes(a, compression="zlib")),
}


@pytest.mark.parametrize("name", list(REWRITTEN))
def test_overwritten_between_two_reads(lake: Lake, name: str) -> None:
    """A file that was overwritten since it was last read, in another way, gives its new pixels."""
    extension, write = REWRITTEN[name]
    lake.put(*map(npy_bytes if extension == "npy" else tiff_bytes, PICTURES[:2]), extension=extension)
    opened = lake.open()
    for r in (0, 1):
        np.testing.assert_array_equal(lake.window(opened, r), PICTURES[r][WINDOW])
    path = lake.directory / f"t0.{extension}"
    path.unlink()
    path.write_bytes(write(PICTURES[2]))
    for _ in range(2):
        np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[2][WINDOW])
    np.testing.assert_array_equal(lake.window(opened, 1), PICTURES[1][WINDOW])


def test_overwritten_before_two_reads_at_once(lake: Lake) -> None:
    """Two reads at once of a file that was overwritten both give its new pixels, whichever finds out first."""
    lake.put(*map(npy_bytes, PICTURES[:2]))
    opened = lake.open()
    lake.window(opened, 0)
    path = lake.directory / "t0.npy"
    path.unlink()
    path.write_bytes(npy_bytes(np.asfortranarray(PICTURES[2])))
    other, sent, free = (0, slice(100, 140), slice(100, 140)), threading.Event(), threading.Event()
    rows = f"bytes={128 + (100 * 1000 + 100) * 2}-"

    async def hold(request: web.Request) -> None:
        if request.headers.get("Range", "").startswith(rows):
            sent.set()
            await asyncio.to_thread(free.wait, 30)

    lake.hold = hold
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(lambda: opened[other].values)
        assert sent.wait(30)  # asked for by the old layout; the answer waits until the other read knows better
        try:
            np.testing.assert_array_equal(opened[(0, *WINDOW)].values, PICTURES[2][WINDOW])
        finally:
            free.set()
        np.testing.assert_array_equal(late.result(60), PICTURES[2][other[1:]])


@pytest.mark.parametrize("name", ["npy-big-endian", "npy-same-header", "tiff-big-endian"])
def test_compressed_before_overwritten(lake: Lake, name: str) -> None:
    """A compressed file that becomes a plain one, or another compressed one, gives its new pixels."""
    extension, write = REWRITTEN[name]
    compressed = tiff_bytes(PICTURES[0], compression="zlib", rowsperstrip=64)
    lake.put(compressed, compressed, extension="tif")
    opened = lake.open()
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[0][WINDOW])
    path = lake.directory / "t0.tif"
    path.unlink()
    path.write_bytes(
        tiff_bytes(PICTURES[2], compression="zlib", rowsperstrip=64) if extension == "npy" else write(PICTURES[2])
    )
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[2][WINDOW])


def test_removed_between_two_reads(lake: Lake) -> None:
    """A file that was removed since is missing, though its layout is known."""
    lake.put(*map(npy_bytes, PICTURES))
    opened = lake.open()
    lake.window(opened, 0)
    (lake.directory / "t0.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"/t0\.npy: there is no such file"):
        lake.window(opened, 0)


# files that are too short


@pytest.mark.parametrize("extension", ["npy", "tif"])
def test_shorter_than_the_layout_learned(lake: Lake, extension: str) -> None:
    """A file that ends before its rows, which a server answers with 416, is an error of its format that names it."""
    write = npy_bytes if extension == "npy" else tiff_bytes
    files = [write(picture) for picture in PICTURES]
    lake.put(files[0], files[1][:300_000], files[2], extension=extension)
    opened = lake.open()
    np.testing.assert_array_equal(lake.window(opened, 0), PICTURES[0][WINDOW])
    with pytest.raises(CodecError, match=rf"/t1\.{extension}: "):
        lake.window(opened, 1)
    np.testing.assert_array_equal(lake.window(opened, 2), PICTURES[2][WINDOW])


def test_cut_inside_the_window(lake: Lake) -> None:
    """A file that ends inside the rows that are wanted is an error too, not a window with other pixels."""
    lake.put(npy_bytes(PICTURES[0]), npy_bytes(PICTURES[1])[: first_byte(128) + 30_000])
    opened = lake.open()
    lake.window(opened, 0)
    with pytest.raises(CodecError, match=r"/t1\.npy: "):
        lake.window(opened, 1)


def test_cut_behind_the_window(lake: Lake) -> None:
    """Where the server tells that a file is shorter than its layout, the rows before that are not taken for sound."""
    lake.put(npy_bytes(PICTURES[0]), npy_bytes(PICTURES[1])[:-1])
    opened = lake.open()
    lake.window(opened, 0)
    with pytest.raises(CodecError, match=r"/t1\.npy: "):
        lake.window(opened, 1)


# large files


def test_a_large_file_in_parts(lake: Lake) -> None:
    """A file of 20 MB of which the size is known comes in parts, and is verified as one; changed, it is an error."""
    large = np.arange(2000 * 5000, dtype="uint16").reshape(2000, 5000)
    data = npy_bytes(large)
    tile = {"coordinates": {}, "indices": {"r": 0}, "sha256": hashlib.sha256(data).hexdigest()}
    lake.put(data, default_tile_shape={"y": 2000, "x": 5000}, tiles=[{"file": "t0.npy", **tile}])
    opened = lake.open()
    np.testing.assert_array_equal(opened[0, 100:110].values, large[100:110])
    lake.clear()
    np.testing.assert_array_equal(opened[0, :, :].values, large)
    assert [path for path, _, _ in lake.ranges] == ["t0.npy"] * 3
    assert sum(sent for _, _, sent in lake.ranges) == len(data)
    assert max(sent for _, _, sent in lake.ranges) <= 8 << 20
    lake.before = overwrite(lake, 2, data[:-2] + b"\0\0")
    with pytest.raises(StoreError, match=CHANGED):
        opened[0, :, :].load()


def test_tifffile_agrees(lake: Lake) -> None:
    """What tifffile reads of the files that the server holds is what comes through it in parts."""
    lake.put(*(tiff_bytes(picture, compression="zstd", rowsperstrip=32) for picture in PICTURES), extension="tif")
    opened = lake.open()
    for r in range(4):
        expected = tifffile.imread(lake.directory / f"t{r}.tif")
        for y in (0, 31, 600, 1190):
            np.testing.assert_array_equal(opened[r, y : y + 10].values, expected[y : y + 10])
