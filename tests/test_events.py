"""trace() and progress(): what they see, what they show, and that they leave nothing behind."""

import asyncio
import gc
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import xarray as xr
from smallsets import Bench, npy, plane, tile

import slicedfs
from slicedfs import events
from slicedfs.errors import MissingExtraError, MissingTileError, MissingTileWarning
from slicedfs.events import FileRead, LoadBegan, LoadEnded, Requested
from slicedfs.ranges import WHOLE, ByteRange
from slicedfs.show import bars
from slicedfs.store import run_async

TILE_BYTES = len(npy(plane(0)))


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Give set.json, of four tiles along r, and root.json, which has it twice."""
    with Bench("events") as made:
        made.put_set([tile(f"t{i}.npy", r=i) for i in range(4)], {"r": 4})
        made.put(root={"version": "0.1.0", "contents": {"a": "set.json", "b": "other.json"}})
        made.fs.files["b/other.json"] = made.fs.files["b/set.json"]
        yield made


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterator[None]:
    """After every test nobody listens, no bar is open, and no thread draws."""
    from tqdm.std import tqdm

    yield
    gc.collect()
    assert not events.listened()
    assert len(getattr(tqdm, "_instances", ())) == 0
    assert not [t for t in threading.enumerate() if t.name == "slicedfs-progress"]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let bars show from the start, so that tests need not wait."""
    monkeypatch.setattr(bars, "PATIENCE_S", 0.0)


def last_lines(out: io.StringIO) -> list[str]:
    """Give what each bar showed last."""
    return [line.rpartition("\r")[2] for line in out.getvalue().split("\n") if line.strip()]


# trace


def test_trace_counts_what_the_filesystem_was_asked_for(bench: Bench) -> None:
    """Requests, bytes, documents and tiles are those that the filesystem saw."""
    bench.fs.clear()
    with slicedfs.trace() as seen:
        bench.dataset()["image"].load()
    assert bench.read == ["set.json", "t0.npy", "t0.npy", "t1.npy", "t2.npy", "t3.npy"]
    assert (seen.requests, seen.failed, seen.documents, seen.tiles) == (6, 0, 1, 4)
    assert seen.bytes == bench.fs.bytes_asked == len(bench.fs.files["b/set.json"]) + 5 * TILE_BYTES


def test_rows(bench: Bench) -> None:
    """A row says what was asked for, which part of it, and what came."""
    with slicedfs.trace() as seen:
        bench.dataset()["image"].isel(r=[0, 2]).load()
    rows = sorted(seen.rows(), key=lambda row: (row.kind, row.url))
    assert [(row.kind, row.labels, row.url, row.byte_range) for row in rows] == [
        ("document", "", "recording://b/set.json", WHOLE),
        ("header", "r=0", "recording://b/t0.npy", ByteRange(0, 16384)),
        ("tile", "r=0", "recording://b/t0.npy", WHOLE),
        ("tile", "r=2", "recording://b/t2.npy", WHOLE),
    ]
    assert [row.bytes for row in rows[1:]] == [TILE_BYTES] * 3
    assert {row.failed for row in rows} == {None}
    assert all(row.seconds > 0 for row in rows)


def test_trace_as_text(bench: Bench) -> None:
    """The repr is a table: a line in all, then one a request, at most twenty."""
    image = bench.open()
    with slicedfs.trace() as seen:
        image.isel(r=1).load()
    head, *lines = repr(seen).splitlines()
    assert re.fullmatch(rf"1 requests, 0 documents, 1 tiles, {TILE_BYTES} B in [0-9.e-]+ s", head)
    assert len(lines) == 1
    assert re.fullmatch(rf"  tile r=1 +{TILE_BYTES} B +[0-9]+\.[0-9]{{3}} s  recording://b/t1\.npy", lines[0])
    with seen:
        for _ in range(5):
            image.isel(r=slice(None)).copy().load()
    assert (seen.requests, seen.tiles) == (21, 21)
    assert repr(seen).splitlines()[-1] == "  … 1 more"


def test_block_ends(bench: Bench) -> None:
    """What is read before the block, or after it, does not count; nor do selections, and reprs."""
    image = bench.open()
    with slicedfs.trace() as seen:
        repr(image.isel(r=2))
    image.load()
    assert (seen.requests, repr(seen)) == (0, "0 requests, 0 documents, 0 tiles, 0 B in 0 s")


def test_trace_may_be_read_meanwhile(bench: Bench) -> None:
    """Inside the block the numbers are those up to now."""
    image = bench.open()
    with slicedfs.trace() as seen:
        image.isel(r=0).load()
        assert seen.tiles == 1
        image.isel(r=1).load()
        assert seen.tiles == 2


def test_nested(bench: Bench) -> None:
    """Blocks inside blocks all see what is read inside them."""
    image = bench.open()
    with slicedfs.trace() as outer:
        image.isel(r=0).load()
        with slicedfs.trace() as inner:
            image.isel(r=1).load()
    assert (outer.tiles, inner.tiles) == (2, 1)


def test_known_documents_cost_nothing(bench: Bench) -> None:
    """A document that the node has read already is no request."""
    root = slicedfs.open(bench.url("root.json"), storage_options=bench.options)
    assert isinstance(root, slicedfs.Collection)
    _ = root["a"]
    with slicedfs.trace() as seen:
        _ = root["a"], root["b"]
    assert [(row.kind, row.url) for row in seen.rows()] == [("document", "recording://b/other.json")]


def test_trees(bench: Bench) -> None:
    """open_datatree shows its documents and headers."""
    with slicedfs.trace() as seen:
        xr.open_datatree(bench.url("root.json"), engine="slicedfs", storage_options=bench.options)
    assert seen.documents == 3
    assert sorted(row.kind for row in seen.rows()) == ["document"] * 3 + ["header"] * 2


async def test_load_async(bench: Bench) -> None:
    """Asynchronous loads are seen, those in tasks of the block too."""
    image = bench.open()
    with slicedfs.trace() as seen:
        await image.isel(r=0).load_async()
        await asyncio.gather(*(image.isel(r=r).load_async() for r in (1, 2)))
    assert seen.tiles == 3


async def test_tasks_see_their_own(bench: Bench) -> None:
    """Two tasks that trace at the same time see their own reads only."""
    image = bench.open()
    both = asyncio.Barrier(2)

    async def traced(positions: list[int]) -> list[str]:
        with slicedfs.trace() as seen:
            await both.wait()
            await image.isel(r=positions).load_async()
            await both.wait()
        return sorted(row.labels for row in seen.rows())

    first, second = await asyncio.gather(traced([0]), traced([1, 2]))
    assert (first, second) == (["r=0"], ["r=1", "r=2"])


async def test_task_that_outlives_the_block(bench: Bench) -> None:
    """What a task of the block reads after the block has ended does not count."""
    image = bench.open()
    bench.fs.delay_s = 0.05
    with slicedfs.trace() as seen:
        task = asyncio.create_task(image.load_async())
        await asyncio.sleep(0)
    await task
    assert len(bench.read) == 4
    assert (seen.requests, seen.tiles) == (0, 0)


def test_threads_see_their_own(bench: Bench) -> None:
    """Two threads that trace at the same time see their own reads only."""
    image = bench.open()
    both = threading.Barrier(2)

    def traced(positions: list[int]) -> list[str]:
        with slicedfs.trace() as seen:
            both.wait(30)
            image.isel(r=positions).load()
            both.wait(30)
        return sorted(row.labels for row in seen.rows())

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(traced, [[0], [1, 2]])) == [["r=0"], ["r=1", "r=2"]]


def test_threads_without_a_block(bench: Bench) -> None:
    """A block sees what threads without one of their own read."""
    image = bench.open()
    with slicedfs.trace() as seen, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda r: image.isel(r=r).load(), range(3)))
    assert seen.tiles == 3


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_dask(bench: Bench, scheduler: str) -> None:
    """The block around .compute() sees what dask's threads read."""
    dataset = bench.dataset(chunks={})
    with slicedfs.trace() as seen:
        computed = dataset["image"].isel(r=slice(1, None)).compute(scheduler=scheduler)
    np.testing.assert_array_equal(computed, np.stack([plane(i) for i in (1, 2, 3)]))
    assert seen.tiles == 3


def test_retries_are_requests(bench: Bench) -> None:
    """A try that failed is a request of its own, with its reason."""
    image = bench.open()
    bench.fs.fail("b/t1.npy", ConnectionResetError("peer"))
    with slicedfs.trace() as seen:
        image.isel(r=1).load()
    assert (seen.requests, seen.failed, seen.tiles) == (2, 1, 1)
    first, second = seen.rows()
    assert (first.failed, first.bytes, first.labels) == ("ConnectionResetError", 0, "r=1")
    assert (second.failed, second.bytes) == (None, TILE_BYTES)
    assert repr(seen).splitlines()[0].startswith("2 requests (1 failed), 0 documents, 1 tiles, ")
    assert "(ConnectionResetError)" in repr(seen).splitlines()[1]


def test_absent_tiles(bench: Bench) -> None:
    """A tile that is read as fill_value is no tile read, but was a request."""
    image = bench.open(on_missing="fill")
    del bench.fs.files["b/t1.npy"]
    with slicedfs.trace() as seen, pytest.warns(MissingTileWarning, match=r"1 absent file"):
        image.isel(r=[0, 1]).load()
    assert (seen.requests, seen.failed, seen.tiles) == (2, 1, 1)


def test_seconds_count_once() -> None:
    """Requests at the same time count once, pauses between them not at all."""
    seen = slicedfs.trace()
    for began, seconds in [(10.0, 2.0), (11.0, 3.0), (11.5, 0.5), (20.0, 1.0)]:
        seen._hear(Requested("tile", "u", 1, WHOLE, began, seconds, 0))
    assert seen.seconds == pytest.approx(5.0)


def test_tiles_from_the_cache() -> None:
    """What came without a request counts as a tile, and apart."""
    with slicedfs.trace() as seen, events.loading("tile", 2) as load:
        assert load is not None
        load.read("s3://b/t0.npy", 10, "r=0", cached=True)
        load.read("s3://b/t1.npy", 10, "r=1")
    assert (seen.requests, seen.tiles, seen.cached, seen.bytes) == (0, 2, 1, 0)
    assert repr(seen) == "0 requests, 0 documents, 2 tiles (1 from the cache), 0 B in 0 s"


# events


def heard(action: Callable[[], object]) -> list[Any]:
    """Give the events of `action`."""
    found: list[Any] = []
    with events.listen(found.append):
        action()
    return found


def test_events_of_a_load(bench: Bench) -> None:
    """A load begins, tells each file, and ends; its events share a number that no other load has."""
    image = bench.open()
    began, *middle, ended = heard(lambda: image.isel(r=[3]).load())
    assert (type(began), began.kind, began.files) == (LoadBegan, "tile", 1)
    assert [type(event) for event in middle] == [Requested, FileRead]
    assert middle[1] == FileRead(
        began.load, "tile", "recording://b/t3.npy", hash("recording://b/t3.npy"), "r=3", TILE_BYTES
    )
    assert (type(ended), ended.load, ended.failed) == (LoadEnded, began.load, False)
    assert heard(lambda: image.isel(r=[2]).load())[0].load != began.load


def test_events_of_a_failure(bench: Bench) -> None:
    """A load that fails ends as failed."""
    image = bench.open()
    del bench.fs.files["b/t3.npy"]

    def load() -> None:
        with pytest.raises(MissingTileError, match=r"^recording://b/t3\.npy: there is no such file"):
            image.isel(r=3).load()

    found = heard(load)
    assert [type(event) for event in found] == [LoadBegan, Requested, LoadEnded]
    assert (found[1].failed, found[2].failed) == ("FileNotFoundError", True)


def test_secrets_do_not_show() -> None:
    """URLs are redacted, and files whose redacted URLs are equal are still told apart."""

    class Reply:
        data = b"123"

    async def reply() -> Reply:
        return Reply()

    async def both() -> None:
        for secret in ("my-first", "my-other"):
            await events.watched(reply(), f"https://h.example/t?sig={secret}", WHOLE)

    with slicedfs.trace() as seen:
        asyncio.run(run_both(both))
    assert [row.url for row in seen.rows()] == ["https://h.example/t?sig=…"] * 2
    assert "my-" not in repr(list(seen.rows())) + repr(seen)
    assert len({request.file for request in seen._requests}) == 2


async def run_both(function: Callable[[], Any]) -> None:
    """Await `function` on the I/O loop."""
    await run_async(function)


def test_foreign_errors_are_named_only() -> None:
    """The text of a foreign error may hold a secret, so the row has its kind; the error itself goes through."""

    async def fails() -> NoReturn:
        raise ValueError("my-secret")

    async def watch() -> None:
        await events.watched(fails(), "s3://b/k", WHOLE)

    with slicedfs.trace() as seen, pytest.raises(ValueError, match=r"^my-secret$"):
        asyncio.run(watch())
    assert [row.failed for row in seen.rows()] == ["ValueError"]


def test_nobody_listens(bench: Bench) -> None:
    """Without a block, no events are made."""
    with events.loading("tile", 1) as load:
        assert load is None
    assert not events.listened()
    with slicedfs.trace():
        assert events.listened()


def test_listeners_stay_in_their_process() -> None:
    """A forked child does not report to its parent's blocks."""
    code = (
        "import os, slicedfs\nfrom slicedfs import events\n"
        "with slicedfs.trace():\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(3 if events.listened() else 7)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), events.listened())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "7 True\n"


# progress


@pytest.mark.usefixtures("at_once")
def test_progress_shows_tiles_and_bytes(bench: Bench) -> None:
    """The bar ends with all tiles and their bytes, over all loads of the block."""
    image, out = bench.open(), io.StringIO()
    with slicedfs.progress(file=out):
        image.isel(r=[0]).load()
        image.isel(r=[1, 2, 3]).load()
    (line,) = last_lines(out)
    assert line.startswith("100%")
    assert "4/4 [" in line
    assert "tiles" in line
    assert f"{4 * TILE_BYTES} B]" in line


def test_progress_after_half_a_second(bench: Bench) -> None:
    """A load of more than half a second shows, and its bar moves."""
    assert bars.PATIENCE_S == 0.5
    image, out = bench.open(concurrency=1), io.StringIO()
    bench.fs.delay_s = 0.25
    with slicedfs.progress(file=out):
        image.load()
    assert "4/4" in last_lines(out)[-1]
    assert re.search(r"\b[123]/4\b", out.getvalue())


def test_progress_of_short_loads(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads that take less than that in all show nothing."""
    monkeypatch.setattr(bars, "PATIENCE_S", 60.0)
    image, out = bench.open(), io.StringIO()
    bench.fs.delay_s = 0.15  # so that it is looked at
    with slicedfs.progress(file=out):
        image.isel(r=0).load()
        time.sleep(0.15)
    assert out.getvalue() == ""


@pytest.mark.usefixtures("at_once")
def test_progress_of_nothing() -> None:
    """A block in which nothing is read shows nothing."""
    out = io.StringIO()
    with slicedfs.progress(file=out):
        pass
    assert out.getvalue() == ""


@pytest.mark.usefixtures("at_once")
def test_progress_of_documents(bench: Bench) -> None:
    """Opening a tree shows its documents."""
    out = io.StringIO()
    with slicedfs.progress(file=out):
        xr.open_datatree(bench.url("root.json"), engine="slicedfs", storage_options=bench.options)
    (line,) = last_lines(out)
    assert "3/3 [" in line
    assert "documents" in line


@pytest.mark.usefixtures("at_once")
def test_progress_with_dask(bench: Bench) -> None:
    """Chunks that dask's threads read add up in one bar."""
    dataset, out = bench.dataset(chunks={}), io.StringIO()
    with slicedfs.progress(file=out):
        dataset.compute(scheduler="threads")
    (line,) = last_lines(out)
    assert "4/4 [" in line


@pytest.mark.usefixtures("at_once")
async def test_progress_with_load_async(bench: Bench) -> None:
    """Asynchronous loads show too."""
    image, out = bench.open(), io.StringIO()
    with slicedfs.progress(file=out):
        await asyncio.gather(*(image.isel(r=[r]).load_async() for r in range(3)))
    (line,) = last_lines(out)
    assert "3/3 [" in line


@pytest.mark.usefixtures("at_once")
def test_progress_shows_retries(bench: Bench) -> None:
    """Requests that failed are counted beside the bytes."""
    image, out = bench.open(), io.StringIO()
    bench.fs.fail("b/t1.npy", ConnectionResetError("peer"))
    with slicedfs.progress(file=out):
        image.load()
    assert f"{4 * TILE_BYTES} B, 1 requests failed]" in last_lines(out)[-1]


@pytest.mark.usefixtures("at_once")
def test_progress_closes_on_errors(bench: Bench) -> None:
    """An error goes through as it is, and the bar that it leaves is not full."""
    image, out = bench.open(), io.StringIO()
    del bench.fs.files["b/t3.npy"]
    with (
        pytest.raises(MissingTileError, match=r"^recording://b/t3\.npy: there is no such file"),
        slicedfs.progress(file=out),
    ):
        image.load()
    assert re.search(r"\b[0-3]/4 \[", last_lines(out)[-1])
    assert out.getvalue().endswith("\n")


@pytest.mark.usefixtures("at_once")
def test_progress_closes_on_interrupts(bench: Bench) -> None:
    """Ctrl-C stops the load, and closes the bar."""
    image, out = bench.open(), io.StringIO()
    bench.fs.delay_s = 120.0

    def interrupt() -> None:
        while not bench.fs.in_flight:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt), slicedfs.progress(file=out):  # noqa: PT012 - the block is what is tested
        thread.start()
        image.load()
    thread.join()
    assert bench.fs.in_flight == 0
    assert "0/4 [" in last_lines(out)[-1]


@pytest.mark.usefixtures("at_once")
def test_tqdm_options(bench: Bench) -> None:
    """Options go to tqdm: a text before the bar, no line left behind, nothing at all."""
    image = bench.open()
    out = io.StringIO()
    with slicedfs.progress(file=out, desc="reading"):
        image.isel(r=0).load()
    assert last_lines(out)[-1].startswith("reading: 100%")
    out = io.StringIO()
    with slicedfs.progress(file=out, leave=False):
        image.isel(r=0).load()
    assert "\n" not in out.getvalue()
    assert out.getvalue().rpartition("\r")[2].strip() == ""
    out = io.StringIO()
    with slicedfs.progress(file=out, disable=True):
        image.isel(r=0).load()
    assert out.getvalue() == ""


@pytest.mark.parametrize("name", ["total", "iterable", "initial", "nonsense"])
def test_unknown_options(name: str) -> None:
    """An option that tqdm does not have, or that slicedfs sets, is refused at once."""
    with pytest.raises(TypeError, match=rf"^progress\(\) has no option '{name}'; it has those of tqdm: .*desc, "):
        slicedfs.progress(**{name: 1})


def test_tqdm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tqdm the error names the extra, before anything is read."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(
        MissingExtraError, match=r"tqdm, which is not installed\. Run: pip install 'slicedfs\[progress\]'"
    ):
        slicedfs.progress()


class Broken(io.StringIO):
    """A terminal that has gone away."""

    def write(self, text: str) -> NoReturn:
        raise OSError(f"gone, with {len(text)} characters")


@pytest.mark.usefixtures("at_once")
def test_bar_that_cannot_be_drawn(bench: Bench) -> None:
    """It fails the block, not the load; where the block fails itself, that error is the one."""
    image = bench.open()
    with pytest.raises(OSError, match=r"^gone, with "), slicedfs.progress(file=Broken()):
        loaded = image.load()
    np.testing.assert_array_equal(loaded, np.stack([plane(i) for i in range(4)]))
    image = bench.open()
    with pytest.raises(ZeroDivisionError, match=r"^of the block$"), slicedfs.progress(file=Broken()):  # noqa: PT012
        image.load()
        raise ZeroDivisionError("of the block")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of tqdm's half-made bar
@pytest.mark.usefixtures("at_once")
def test_drawing_that_fails_leaves_tqdm_usable(bench: Bench) -> None:
    """A wrong format fails the block, and bars after it are drawn: tqdm's lock is given back."""
    image, out = bench.open(), io.StringIO()
    with pytest.raises(KeyError, match=r"^'nonsense'$"), slicedfs.progress(file=out, bar_format="{nonsense}"):
        image.isel(r=0).load()
    with slicedfs.progress(file=out):
        image.isel(r=1).load()
    assert "1/1 [" in last_lines(out)[-1]


def test_progress_in_a_notebook(tmp_path: Path) -> None:
    """In Jupyter the bar appears below the cell with the block, also where an earlier cell has read before."""
    import nbformat
    from nbclient import NotebookClient

    first = "\n".join(
        [
            "import warnings",
            "warnings.filterwarnings('ignore', message='IProgress not found')",
            "import sys; sys.path.insert(0, " + repr(str(Path(__file__).parent)) + ")",
            "from smallsets import Bench, tile",
            "import slicedfs",
            "from slicedfs.show import bars; bars.PATIENCE_S = 0.0",
            "bench = Bench('notebook')",
            "bench.put_set([tile(f't{i}.npy', r=i) for i in range(4)], {'r': 4})",
            "image = bench.open()",
            "image.isel(r=0).copy().load()",
            "None",
        ]
    )
    cells = [first, "with slicedfs.progress():\n    image.load()", "'after'"]
    read: Any = nbformat.from_dict
    book = read(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{i}",
                    "metadata": {},
                    "execution_count": None,
                    "outputs": [],
                    "source": cell,
                }
                for i, cell in enumerate(cells)
            ],
        }
    )
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    texts = ["".join(output.get("text", "") for output in cell["outputs"]) for cell in book.cells]
    assert texts[0] == texts[2] == ""
    assert "4/4 [" in texts[1]
