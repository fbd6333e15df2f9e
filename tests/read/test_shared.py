"""Tiles that several reads want: one fetch for all of them, and some of them kept for the next."""

import asyncio
import io
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from read.files import planes
from read.waves import TileBench
from tilefiles import npy_bytes

from slicedfs import StoreError
from slicedfs.read import selection, shared

PICTURES = [picture[:, :600] for picture in planes(4, 700)]
WINDOW = np.s_[0, 200:240, 100:140]


def png(pixels: Any) -> bytes:
    """Give a picture as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without tiles that other tests left in memory."""
    monkeypatch.setattr(shared, "_kept", type(shared._kept)())
    monkeypatch.setattr(shared, "_kept_bytes", 0)


@pytest.fixture
def bench() -> Iterator[TileBench]:
    """Give a tile set of four NPY files."""
    with TileBench("shared", [npy_bytes(picture) for picture in PICTURES], PICTURES, "npy") as fresh:
        yield fresh
        fresh.fs.release()


@pytest.fixture
def pngs() -> Iterator[TileBench]:
    """Give a tile set of four PNG files, whose pixels have more than 256 KiB."""
    with TileBench("pngs", [png(picture) for picture in PICTURES], PICTURES, "png") as fresh:
        yield fresh


class Joins:
    """Counts the reads that were told that another one fetches their tile."""

    def __init__(self) -> None:
        self.count, self.more = 0, threading.Condition()

    def add(self) -> None:
        with self.more:
            self.count += 1
            self.more.notify_all()

    def wait(self, count: int) -> None:
        with self.more:
            assert self.more.wait_for(lambda: self.count >= count, 30)


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> Joins:
    """Give a count of the reads that joined another."""
    joined, join = Joins(), selection._flights.join

    def counted(key: shared.Key) -> Any:
        flight = join(key)
        if flight is not None:
            joined.add()
        return flight

    monkeypatch.setattr(selection._flights, "join", counted)
    return joined


# one fetch for several


@pytest.mark.parametrize(
    "window", [np.s_[0, 200:240, 100:140], np.s_[0], np.s_[:, 10:20]], ids=["part", "whole", "parts"]
)
def test_threads_that_want_the_same(bench: TileBench, joins: Joins, window: Any) -> None:
    """Four threads that read the same tiles at once cost what one of them costs, and each gets the pixels."""
    opened, expected = bench.open(), np.stack(PICTURES)[window]
    opened[window].load()
    alone, n_tiles = bench.cost().requests, 1 if expected.ndim == 2 else 4
    bench.fs.clear()
    bench.fs.hold()
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(lambda: opened[window].values) for _ in range(4)]
        joins.wait(3 * n_tiles)  # three of them wait for the fourth one's tiles
        bench.fs.release()
        found = [read.result(60) for read in reads]
    for values in found:
        np.testing.assert_array_equal(values, expected)
    assert 1 <= bench.cost().requests <= alone
    assert len({id(values) for values in found}) == 4


def test_results_are_not_shared(bench: TileBench, joins: Joins) -> None:
    """Who changes the pixels that a shared fetch gave changes nobody else's."""
    opened = bench.open()
    bench.fs.hold()
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(lambda: opened[0].values) for _ in range(2)]
        joins.wait(1)
        bench.fs.release()
        first, second = (read.result(60) for read in reads)
    first[...] = 0
    np.testing.assert_array_equal(second, PICTURES[0])


def test_reads_of_different_windows(bench: TileBench, joins: Joins) -> None:
    """Reads of different parts of a tile do not wait for each other."""
    opened = bench.open()
    bench.fs.hold()
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(lambda y=y: opened[0, y : y + 10].values) for y in (100, 400)]
        bench.fs.release()
        for y, read in zip((100, 400), reads, strict=True):
            np.testing.assert_array_equal(read.result(60), PICTURES[0][y : y + 10])
    assert joins.count == 0


async def test_the_one_that_fetches_is_cancelled(bench: TileBench, joins: Joins) -> None:
    """Where the read that fetches is cancelled, the one that waits for it fetches itself."""
    opened = bench.open()
    bench.fs.hold()
    first = asyncio.create_task(opened[WINDOW].load_async())
    await asyncio.to_thread(bench.fs.await_request)
    second = asyncio.create_task(opened[WINDOW].load_async())
    await asyncio.to_thread(joins.wait, 1)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    bench.fs.release()
    np.testing.assert_array_equal((await second).values, PICTURES[0][200:240, 100:140])


async def test_the_one_that_waits_is_cancelled(bench: TileBench, joins: Joins) -> None:
    """Where the read that waits is cancelled, the one that fetches goes on."""
    opened = bench.open()
    bench.fs.hold()
    first = asyncio.create_task(opened[WINDOW].load_async())
    await asyncio.to_thread(bench.fs.await_request)
    second = asyncio.create_task(opened[WINDOW].load_async())
    await asyncio.to_thread(joins.wait, 1)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    bench.fs.release()
    np.testing.assert_array_equal((await first).values, PICTURES[0][200:240, 100:140])
    assert joins.count == 1


def test_the_one_that_fetches_fails(bench: TileBench, joins: Joins) -> None:
    """Where the fetch fails for the read that began it, the other one tries itself."""
    opened = bench.open()
    bench.fs.fail("b/t0.npy", ValueError("once"))
    bench.fs.hold()
    with ThreadPoolExecutor(2) as pool:
        reads = [pool.submit(lambda: opened[0].values) for _ in range(2)]
        joins.wait(1)
        bench.fs.release()
        results = []
        for read in reads:
            try:
                results.append(read.result(60))
            except StoreError as error:
                results.append(str(error))
    (failure,) = [each for each in results if isinstance(each, str)]
    (values,) = [each for each in results if not isinstance(each, str)]
    assert failure.startswith("waves://b/t0.npy: could not be read: ValueError: once (1 try).")
    np.testing.assert_array_equal(values, PICTURES[0])


def test_two_reads_each_of_which_waits_for_the_other(bench: TileBench, joins: Joins) -> None:
    """Reads that fetch tiles for each other, in opposite orders, both end."""
    opened, whole = bench.open(concurrency=1), np.stack(PICTURES)
    orders = [[0, 1, 2, 3], [3, 2, 1, 0]]
    for _ in range(10):
        with ThreadPoolExecutor(2) as pool:
            reads = [pool.submit(lambda order=order: opened[order, 5:9].values) for order in orders]
            for order, read in zip(orders, reads, strict=True):
                np.testing.assert_array_equal(read.result(60), whole[order, 5:9])


def test_nothing_is_held_afterwards(bench: TileBench) -> None:
    """After reads that went well, and others that failed, no tile counts as being fetched."""
    opened = bench.open()
    np.testing.assert_array_equal(opened[:, :].values, np.stack(PICTURES))
    del bench.fs.files["b/t1.npy"]
    with pytest.raises(StoreError, match=r"waves://b/t1\.npy: there is no such file"):
        opened[1, :, :].load()
    assert selection._flights._flying == {}


# tiles that are kept


def test_chunks_that_cut_through_a_stream(pngs: TileBench) -> None:
    """A PNG file that dask's chunks cut into sixteen is fetched once."""
    with pytest.warns(UserWarning, match="separate the stored chunks"):
        chunked = pngs.open(chunks={"r": 1, "y": 175, "x": 150})
    assert chunked.data.numblocks == (4, 4, 4)
    np.testing.assert_array_equal(chunked.compute(scheduler="synchronous").values, np.stack(PICTURES))
    assert sorted(pngs.fs.paths) == ["b/t0.png", "b/t1.png", "b/t2.png", "b/t3.png"]


def test_a_tile_that_was_read_in_full_is_not_kept(pngs: TileBench) -> None:
    """What was used up at once is not kept: a file is read as it is now."""
    opened = pngs.open()
    opened[0].load()
    assert shared._kept_bytes == 0
    assert pngs.read(opened, 0, slice(None), slice(None)).requests == 1


def test_small_tiles_are_not_kept() -> None:
    """Tiles of less than 256 KiB are fetched again: that is as quick."""
    small = [picture[:300, :300] for picture in PICTURES]
    with TileBench("small", [png(each) for each in small], small, "png") as bench:
        opened = bench.open()
        for _ in range(2):
            assert bench.read(opened, 0, slice(0, 9), slice(0, 9)).requests == 1


def test_switched_off(pngs: TileBench) -> None:
    """With memory_cache_bytes=0 nothing is kept."""
    opened = pngs.open(memory_cache_bytes=0)
    for _ in range(2):
        assert pngs.read(opened, 0, slice(0, 9), slice(0, 9)).requests == 1
    assert shared._kept_bytes == 0


def test_the_bound_is_kept(pngs: TileBench) -> None:
    """Of tiles of 840,000 bytes, 2,000,000 bytes keep the two that were used last."""
    opened = pngs.open(memory_cache_bytes=2_000_000)
    for r, requests in [(0, 1), (1, 1), (0, 0), (2, 1), (0, 0), (1, 1), (2, 1), (1, 0)]:
        assert pngs.read(opened, r, slice(0, 9), slice(0, 9)).requests == requests
        assert shared._kept_bytes == sum(pixels.nbytes for pixels in shared._kept.values()) <= 2_000_000


def test_kept_pixels_cannot_be_changed_from_outside(pngs: TileBench) -> None:
    """Who changes what was read does not change what is kept."""
    opened = pngs.open()
    for _ in range(3):
        values = opened[0, :100].values
        np.testing.assert_array_equal(values, PICTURES[0][:100])
        values[...] = 0


def test_another_opening_keeps_its_own(pngs: TileBench) -> None:
    """An array that is opened anew reads what lies there now, whatever the one before has kept."""
    before = pngs.open()
    pngs.read(before, 0, slice(0, 9), slice(0, 9))
    pngs.put(0, png(PICTURES[1]))
    np.testing.assert_array_equal(pngs.open()[0, :9].values, PICTURES[1][:9])


def test_memory_of_reading(tmp_path: Path) -> None:
    """Reading piece by piece takes no more memory at the end than at first; one large read that of its result."""
    script = """
        import json, resource, sys
        import numpy as np
        import slicedfs

        def peak_mib():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

        directory = sys.argv[1]
        picture = np.arange(2048 * 2048, dtype="uint16").reshape(2048, 2048)
        np.save(f"{directory}/t.npy", picture)
        tiles = [{"file": "t.npy", "coordinates": {}, "indices": {"r": r}} for r in range(32)]
        document = {"version": "0.1.0", "dimensions": ["r", "y", "x"], "shape": {"r": 32}, "tiles": tiles}
        with open(f"{directory}/set.json", "w") as file:
            json.dump(document, file)
        image = slicedfs.open_dataarray(f"{directory}/set.json", bytes_in_flight=32 << 20, memory_cache_bytes=0)
        peaks = []
        for r in range(32):
            assert (image[r, :1800].values == picture[:1800]).all()
            peaks.append(peak_mib())
        assert (image.values[::8] == picture).all()
        print(peaks[3], peaks[-1], peak_mib())
    """
    run = [sys.executable, "-c", textwrap.dedent(script), os.fspath(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=True)
    first, last, large = map(int, done.stdout.split())
    assert last - first < 32  # of 28 more pieces of 7 MiB
    assert large - last < 256 + 32 + 96  # the result, what is in flight, and some decoding
