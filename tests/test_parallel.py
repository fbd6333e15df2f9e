"""Threads, processes, clusters and event loops: the same pixels everywhere, by reference, with nothing left behind."""

import asyncio
import copy
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import imagesets
import numpy as np
import pytest
import xarray as xr
from smallsets import Bench, npy, plane, tile, tile_set

LAYOUT = imagesets.Layout()
PIXELS = imagesets.expected(LAYOUT)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Give a directory with tileset.json: r=2, c=3, z=2, one TIFF of 24 by 40 pixels each."""
    path = tmp_path_factory.mktemp("parallel")
    imagesets.write_tile_set(path, LAYOUT)
    return path


@pytest.fixture
def bench(request):
    """Give files in memory: 24 planes of 2 by 3 pixels."""
    with Bench(request.node.nodeid) as fresh:
        fresh.put_set([tile(f"{r}.npy", r=r) for r in range(24)], {"r": 24})
        yield fresh


def open_image(url, **options):
    """Open a tile set as the variable "image"."""
    return xr.open_dataset(url, engine="slicedfs", **options).image


# dask


@pytest.mark.parametrize("chunks", [{}, {"c": 3, "z": 2}, "auto"], ids=str)
def test_dask_threads(directory, chunks):
    """Chunks that threads compute are the pixels."""
    image = open_image(directory / "tileset.json", chunks=chunks)
    np.testing.assert_array_equal(image.compute(scheduler="threads").values, PIXELS)


def test_dask_processes(directory):
    """Chunks that spawned processes compute are the pixels."""
    import dask

    image = open_image(directory / "tileset.json", chunks={"c": 3, "z": 2})
    with dask.config.set({"multiprocessing.context": "spawn"}):
        computed = image.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(computed.values, PIXELS)


def test_distributed(directory):
    """Chunks that a cluster of processes computes are the pixels, and so are sums over them."""
    distributed = pytest.importorskip("distributed")
    image = open_image(directory / "tileset.json", chunks={})
    cluster = {"n_workers": 2, "threads_per_worker": 2, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**cluster) as workers, distributed.Client(workers) as client:
        assert len(client.scheduler_info()["workers"]) == 2
        np.testing.assert_array_equal(image.values, PIXELS)
        np.testing.assert_array_equal(image.max("z").values, PIXELS.max(2))


def test_chunking_asks_for_nothing(bench):
    """Chunking an array makes no request; equal arrays get equal names, others get others."""
    image = bench.open()
    names = [
        selected.chunk({"r": 1}).data.name
        for selected in (image, pickle.loads(pickle.dumps(image)), image.isel(r=slice(1, None)), image.isel(x=[0, 1]))
    ]
    assert bench.read == []
    assert names[0] == names[1]
    assert len(set(names)) == 3


# by reference


def test_pickles_hold_no_pixels(bench):
    """A pickled array is a reference: small, the same before and after reading, and never pixels."""
    image = bench.open(cache=False)
    before = pickle.dumps(image)
    _ = image.values
    assert len(pickle.dumps(image)) == len(before) < 3000
    for stored in (before, pickle.dumps(bench.open(chunks={}))):
        assert plane(3).tobytes() not in stored
        assert b"3.npy" not in stored
    np.testing.assert_array_equal(pickle.loads(before).isel(r=3).values, plane(3))


def test_size_does_not_grow_with_the_document(bench):
    """Pickles and graphs of ten planes are as large when the document has ten tiles as when it has two thousand."""
    sizes = []
    for count in (10, 2000):
        bench.put_set([tile(f"{r}.npy", {"x": [r, r + 3]}, r=r) for r in range(count)], {"r": count})
        image = bench.open().drop_vars(["x_min", "x_max"]).isel(r=slice(10))
        chunked = bench.open(chunks={"r": -1}).drop_vars(["x_min", "x_max", "r"])
        sizes.append((len(pickle.dumps(image)), len(pickle.dumps(chunked.data.dask))))
    assert sizes[0] == pytest.approx(sizes[1], abs=40)


def test_graph_grows_with_chunks_only_by_keys(bench):
    """A graph holds the array once, whatever the number of chunks."""
    graph = pickle.dumps(bench.open(chunks={}).data.dask)
    assert graph.count(b"SourceRef") == 1


def test_a_worker_opens_once(tmp_path, serve_http):
    """A process that gets many pickles of one array reads its document once."""
    (tmp_path / "set.json").write_text(json.dumps(tile_set([tile(f"{r}.npy", r=r) for r in range(6)], {"r": 6})))
    for r in range(6):
        (tmp_path / f"{r}.npy").write_bytes(npy(plane(r)))
    server = serve_http(tmp_path)
    image = open_image(f"{server.url}/set.json")
    planes = [image.isel(r=r) for r in range(6)]
    server.clear()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        found = list(worker.map(np.asarray, planes))
    np.testing.assert_array_equal(found, [plane(r) for r in range(6)])
    asked = [request.path for request in server.requests]
    assert asked.count("/set.json") == 1
    assert {asked.count(f"/{r}.npy") for r in range(1, 6)} == {1}


def test_spawn(directory):
    """Selections travel to spawned processes, transposed and pointwise ones too."""
    image = open_image(directory / "tileset.json")
    along = xr.DataArray([0, 5, 23], dims="p")
    selections = [image.isel(r=0, c=1).transpose("x", "y", "z"), image.isel(y=along, x=along, z=0)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as workers:
        transposed, points = workers.map(np.asarray, selections)
    np.testing.assert_array_equal(transposed, PIXELS[0, 1].transpose(2, 1, 0))
    np.testing.assert_array_equal(points, PIXELS[:, :, 0, [0, 5, 23], [0, 5, 23]])


FORK = """
import os, signal, sys
import numpy as np, xarray as xr
image = xr.open_dataset(sys.argv[1], engine="slicedfs").image
before = image.isel(r=0, c=0, z=0).values
child = os.fork()
if child == 0:
    signal.alarm(60)
    for r, c in np.ndindex(2, 3):
        plane = image.isel(r=r, c=c, z=1).values
        assert plane[0, 0] == 1 + 1009 * (r * 64 + c * 8 + 1), plane
    again = xr.open_dataset(sys.argv[1], engine="slicedfs").image
    assert (again.isel(r=0, c=0, z=0).values == before).all()
    print("child read", flush=True)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert image.isel(r=1, c=2, z=1).values[0, 0] == 1 + 1009 * (64 + 16 + 1)
print("parent read")
"""


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="os.fork exists on POSIX only")
@pytest.mark.parametrize("where", ["files", "http"])
def test_fork(directory, serve_http, where):
    """A process that is forked after the first read reads on, and so does its parent."""
    base = directory.as_posix() if where == "files" else serve_http(directory).url
    command = [sys.executable, "-W", "ignore", "-c", FORK, f"{base}/tileset.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    assert (done.stdout, done.returncode) == ("child read\nparent read\n", 0)


def test_deep_copies(bench):
    """A deep copy reads nothing and shares the source; what is assigned to it stays its own."""
    image = bench.open()
    copied = copy.deepcopy(image)
    assert bench.read == []
    copied[{"r": 0}] = 7
    np.testing.assert_array_equal(copied.isel(r=0).values, np.full((2, 3), 7))
    np.testing.assert_array_equal(image.isel(r=0).values, plane(0))


# threads


def test_sixteen_threads(bench):
    """Sixteen threads that start at once get their own pixels, for one request each."""
    image = bench.open()
    start = threading.Barrier(16)

    def read(r):
        start.wait(60)
        return image.isel(r=r).values

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(read, range(16)))
    np.testing.assert_array_equal(found, [plane(r) for r in range(16)])
    assert sorted(bench.read) == sorted(f"{r}.npy" for r in range(16))


def test_threads_that_open(bench):
    """Sixteen threads may open one document at once."""
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda r: bench.dataset().image.isel(r=r).values, range(16)))
    np.testing.assert_array_equal(found, [plane(r) for r in range(16)])


# event loops


def test_sixteen_at_once(bench):
    """Sixteen load_async under one loop overlap, and so do they under the next loop."""
    image = bench.open()
    bench.fs.delay_s = 0.05

    async def load():
        return await asyncio.gather(*(image.isel(r=r).load_async() for r in range(16)))

    for _ in range(2):
        bench.fs.clear()
        np.testing.assert_array_equal(asyncio.run(load()), [plane(r) for r in range(16)])
        assert sorted(bench.read) == sorted(f"{r}.npy" for r in range(16))
        assert bench.fs.max_in_flight > 1


def test_the_loop_goes_on(bench):
    """While tiles load, other coroutines of the caller's loop run."""
    image = bench.open()
    bench.fs.delay_s = 0.2
    ticks = []

    async def tick():
        while True:
            ticks.append(bench.fs.in_flight)
            await asyncio.sleep(0.01)

    async def load():
        ticker = asyncio.create_task(tick())
        loaded = await image.isel(r=5).load_async()
        ticker.cancel()
        return loaded

    np.testing.assert_array_equal(asyncio.run(load()).values, plane(5))
    assert 1 in ticks


def test_dataset_load_async(bench):
    """A whole Dataset loads under a loop."""
    loaded = asyncio.run(bench.dataset().load_async())
    np.testing.assert_array_equal(loaded.image.values, np.stack([plane(r) for r in range(24)]))


async def under_way(bench, requests):
    """Wait until `requests` are under way."""
    while bench.fs.in_flight < requests:  # noqa: ASYNC110 - the requests run on another loop
        await asyncio.sleep(0.005)


def test_cancellation(bench):
    """A load that is cancelled leaves no request behind and starts no other; the array can be read afterwards."""
    image = bench.open(concurrency=2)
    bench.fs.delay_s = 30

    async def cancel():
        task = asyncio.create_task(image.load_async())
        await under_way(bench, 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError, match=r"^$"):
            await task
        assert bench.fs.in_flight == 0
        bench.fs.delay_s = 0
        await asyncio.sleep(0.2)

    asyncio.run(cancel())
    assert (len(bench.read), bench.fs.in_flight) == (2, 0)
    np.testing.assert_array_equal(image.isel(r=23).values, plane(23))


def test_timeout(bench):
    """asyncio.timeout ends a load."""
    image = bench.open(concurrency=3)
    bench.fs.delay_s = 30

    async def load():
        async with asyncio.timeout(0.3):
            await image.load_async()

    with pytest.raises(TimeoutError, match=r"^$"):
        asyncio.run(load())
    assert (len(bench.read), bench.fs.in_flight) == (3, 0)


def test_one_error_alone(bench):
    """Of several errors at once the first is raised, as itself, and the rest of the load stops."""
    image = bench.open(concurrency=2)
    for r in range(24):
        del bench.fs.files[f"b/{r}.npy"]
    with pytest.raises(FileNotFoundError, match=r"^recording://b/[01]\.npy: there is no such file"):
        asyncio.run(image.load_async())
    assert set(bench.read) <= {f"{r}.npy" for r in range(4)}


def test_blocking_call_under_a_running_loop(bench):
    """A plain load works inside a coroutine, as in a notebook."""
    image = bench.open()

    async def blocking():
        return image.isel(r=2).load().values, bench.dataset().sizes["r"]

    values, count = asyncio.run(blocking())
    np.testing.assert_array_equal(values, plane(2))
    assert count == 24
