"""How long it takes to place the tiles of a mosaic and to look up a crop of it, and how much memory that takes.

    python benchmarks/mosaics.py [--tiles 100 10000 1000000] [--repeat 3]

Square tiles of 512 pixels: a stack of 100 x 100 planes an index r, a lattice of tiles that touch, a lattice of tiles
that overlap by a tenth, and tiles that lie beside such a lattice by up to 40 pixels. The crop is 600 x 600 pixels
out of the middle; of the stack and the lattice, it is a hundredth of all tiles. Goal: 1 ms of CPU, and 2 µs for each
tile touched. Every measurement is a process of its own; nothing is read, so neither files nor a network are needed.
Memory is what placing adds to that of the process, once the document is there: the peak, and what is kept.
"""

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from math import isqrt

LAYOUTS = {"stack": (0, 0), "lattice": (512, 0), "overlapping": (460, 0), "jittered": (460, 40)}
PIXELS, WIDTH = 512, 0.65
KILOBYTE = 1e-3 if sys.platform == "darwin" else 1.024  # ru_maxrss counts bytes there, KiB elsewhere


def document(count: int, layout: str):
    """Give the columns of a tile set of about `count` tiles, in random order."""
    import numpy as np

    from slicedfs.model import Strings, Tiles, TileSetDocument

    pitch, jitter = LAYOUTS[layout]
    side = isqrt(count)
    if layout == "stack":
        return stack(side * side)
    rng = np.random.default_rng(0)
    places = np.divmod(rng.permutation(side * side), side)
    starts = [at * pitch + rng.integers(0, jitter + 1, side * side) for at in places]
    ranges = {
        name: np.stack([start, start + PIXELS], axis=1) * WIDTH
        for name, start in zip(("yc", "xc"), starts, strict=True)
    }
    tiles = Tiles(Strings(b"", np.zeros(side * side, np.int64)), {}, ranges)
    shape = {"y": PIXELS, "x": PIXELS}
    return TileSetDocument("memory://mosaic.json", "0.1.0", ("y", "x"), {}, tiles, shape)


def stack(count: int):
    """Give the columns of `count` tiles that differ by their labels."""
    import numpy as np

    from slicedfs.model import Strings, Tiles, TileSetDocument

    number = np.arange(count)
    indices = {"r": number // 10_000, "c": number // 100 % 100, "z": number % 100}
    tiles = Tiles(Strings(b"", np.zeros(count, np.int64)), indices, {})
    shape = {"r": -(-count // 10_000), "c": 100, "z": 100}
    return TileSetDocument("memory://stack.json", "0.1.0", ("y", "x"), shape, tiles, {"y": PIXELS, "x": PIXELS})


def crop(layout: str, shape: tuple[int, ...]) -> list:
    """Return what is selected of an array."""
    if layout == "stack":
        return [slice(None), slice(None), 50, slice(100, 200), slice(100, 200)]
    half = 300 if layout != "lattice" else max(shape[0] // 20, 300)
    return [slice(max(length // 2 - half, 0), length // 2 + half) for length in shape]


def resident() -> float:
    """Return the memory that the process holds now, in MB."""
    gc.collect()
    try:
        with open("/proc/self/statm") as file:  # noqa: PTH123 - a pseudo file
            return int(file.read().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return float("nan")


def measure_here(count: int, layout: str) -> None:
    """Print what one mosaic costs in this process."""
    from slicedfs.layout.placement import place
    from slicedfs.layout.selection import Selection

    place(document(4, layout), ("y", "x"), None, "edges")  # imports, and numpy's first calls
    opened = document(count, layout)
    before, peak_before = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    placed = place(opened, ("y", "x"), None, "edges")
    placing = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shape = placed.grid.shape
    selection = Selection.whole(shape).outer(crop(layout, shape))
    placed.grid.touched(selection)
    start = time.process_time()
    for _ in range(10):
        touched = placed.grid.touched(selection)
    planning = (time.process_time() - start) / 10
    costs = {"added": (peak - peak_before) * KILOBYTE / 1e3, "kept": resident() - before}
    print(json.dumps({"place": placing, "plan": planning, "touched": len(touched.tiles), **costs}))


def measure(count: int, layout: str, repeat: int) -> dict:
    """Return the best times and the largest memory of `repeat` fresh processes."""
    command = [sys.executable, __file__, "--here", str(count), layout]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(repeat)
    ]
    best = {name: min(run[name] for run in runs) for name in ("place", "plan", "touched")}
    return {**best, **{name: max(run[name] for run in runs) for name in ("added", "kept")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[100, 10_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--here", nargs=2, metavar=("TILES", "LAYOUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        measure_here(int(arguments.here[0]), arguments.here[1])
        return
    print(
        f"{'tiles':>10}  {'layout':<12} {'place s':>8} {'plan ms':>9} {'touched':>8} {'MB at peak':>11} {'MB kept':>8}"
        " goal"
    )
    for count in arguments.tiles:
        for layout in LAYOUTS:
            run = measure(count, layout, arguments.repeat)
            is_met = run["plan"] <= 1e-3 + 2e-6 * run["touched"]
            print(
                f"{isqrt(count) ** 2:>10,}  {layout:<12} {run['place']:>8.4f} {run['plan'] * 1e3:>9.3f}"
                f" {run['touched']:>8} {run['added']:>11.1f} {run['kept']:>8.1f}"
                f" {'met' if is_met else 'NOT MET'}"
            )


if __name__ == "__main__":
    main()
