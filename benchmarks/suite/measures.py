"""Measurements in a process of their own that are no reader: ``python -m benchmarks.suite.measures WHAT ARGUMENT…``.

Each prints one line of JSON.
"""

import json
import sys
import time

import numpy as np

__all__ = ["mosaic"]


def planning(count: str) -> list[dict]:
    """Time how long the tiles of a selection are looked up among `count` tiles, in a stack and in a mosaic."""
    from math import isqrt

    side, length = isqrt(int(count)), round(int(count) ** (1 / 3))
    rows = []
    for layout, total, grid, cuts in (
        ("stack r, c, z", length**3, _stack(length), [(1, 1, 1), (1, 1, 100), (1, 100, 100)]),
        ("mosaic", side**2, mosaic(side), [(1, 1), (10, 10), (100, 100)]),
    ):
        rows += [{"layout": layout, "tiles": total} | _time_to_plan(grid, cut) for cut in cuts]
    return rows


def _time_to_plan(grid: object, cut: tuple[int, ...]) -> dict:
    from slicedfs.layout.selection import Selection

    step = 1 if len(cut) == 3 else 512  # a stack's leading dims count tiles, a mosaic's count pixels
    bounds = [slice(0, n * step) for n in cut]
    rest = [slice(0, length) for length in grid.shape[len(cut) :]]
    selection = Selection.whole(grid.shape).outer([*bounds, *rest])
    touched = grid.touched(selection)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        grid.touched(selection)
        times.append(time.perf_counter() - start)
    return {"touched": len(touched.tiles), "seconds": float(np.median(times))}


def _stack(length: int) -> object:
    indices = np.indices((length, length, length), np.int64).reshape(3, -1)
    return _placed(dict(zip("rcz", indices, strict=True)), {}, length)


def mosaic(side: int) -> object:
    """Give the grid of side x side tiles of 512 x 512 pixels, listed in random order."""
    places = np.divmod(np.random.default_rng(0).permutation(side * side), side)
    ranges = {
        name: np.stack([at * 512, (at + 1) * 512], axis=1) * 0.5 for name, at in zip(("yc", "xc"), places, strict=True)
    }
    return _placed({}, ranges, side)


def _placed(indices: dict, ranges: dict, length: int) -> object:
    from slicedfs.layout.placement import place
    from slicedfs.model import Strings, Tiles, TileSetDocument

    count = len(next(iter((indices or ranges).values())))
    tiles = Tiles(Strings(b"", np.zeros(count, np.int64)), indices, ranges)
    dims = (*indices, "y", "x")
    document = TileSetDocument(
        "memory://set.json", "0.1.0", dims, dict.fromkeys(indices, length), tiles, {"y": 512, "x": 512}
    )
    return place(document, ("y", "x"), None, "edges").grid


def pieces(url: str, times: str) -> dict:
    """Read the volume `times` times in pieces of 64 MiB, one after another, and give the peak memory."""
    import slicedfs
    from benchmarks.suite.worker import peak_memory

    array = slicedfs.open_dataarray(url)
    plane = array.sizes["y"] * array.sizes["x"] * array.dtype.itemsize
    step = max(1, min(array.sizes["z"], 2**26 // plane))
    start, total = time.perf_counter(), 0
    for _ in range(int(times)):
        for r in range(array.sizes["r"]):
            for c in range(array.sizes["c"]):
                for z in range(0, array.sizes["z"], step):
                    total += array.isel(r=r, c=c, z=slice(z, z + step)).load().nbytes
    seconds = time.perf_counter() - start
    return {"gib": total / 2**30, "piece_mib": plane * step / 2**20, "peak": peak_memory(), "seconds": seconds}


def whole(url: str) -> dict:
    """Read the whole volume at once, and give the peak memory of this process beside the size of the result."""
    import slicedfs
    from benchmarks.suite.worker import peak_memory

    array = slicedfs.open_dataarray(url)
    start = time.perf_counter()
    output = array.load().nbytes
    return {"output": output, "peak": peak_memory(), "seconds": time.perf_counter() - start}


def cached(url: str, folder: str) -> dict:
    """Read one plane with a tile cache."""
    import slicedfs

    array = slicedfs.open_dataarray(url, tile_cache=folder).isel(r=0, c=0, z=0)
    start = time.perf_counter()
    array.load()
    return {"seconds": time.perf_counter() - start, "pixels": int(array.to_numpy().sum(dtype=np.int64))}


if __name__ == "__main__":
    print(json.dumps({f.__name__: f for f in (planning, pieces, whole, cached)}[sys.argv[1]](*sys.argv[2:])))
