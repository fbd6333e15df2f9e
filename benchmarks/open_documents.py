"""How long it takes to open one document, and how much memory: slicedfs against slicedimage 4.1.1.

    python benchmarks/open_documents.py [--tiles 1000 100000 1000000] [--repeat 3] [--all]

Documents of up to 10,000 tiles are written by slicedimage itself; larger ones have the same layout, key for key (the
smaller ones are compared to be sure). Every measurement is a process of its own, from the file on a local disk to the
opened object; the best time and the largest peak of `--repeat` processes count. Goals are about seconds on the clock,
so they need a quiet machine; CPU seconds are there for a busy one. slicedimage is left out where it would take minutes,
unless `--all` is given. Exit code 1 where a goal is not met.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

BY_SLICEDIMAGE = 10_000
"""Most tiles of a document that slicedimage itself writes."""
SLOW = 200_000
"""Most tiles for which slicedimage is measured without `--all`."""
GOALS = {
    100_000: {"times faster": 20.0, "times less memory": 5.0},
    1_000_000: {"seconds": 3.0, "peak MB": 1000.0},
}
DIMENSIONS = ("r", "c", "z", "y", "x")
PER_ROUND, PER_CHANNEL = 40, 10
MEGABYTE = 1e6 / (1 if sys.platform == "darwin" else 1024)  # ru_maxrss counts bytes there, KiB elsewhere


def tiles(count: int) -> Iterator[dict]:
    """Yield the tiles of a field of view with 4 channels and 10 planes, and as many rounds as it takes."""
    for i in range(count):
        indices = {"r": i // PER_ROUND, "c": i % PER_ROUND // PER_CHANNEL, "z": i % PER_CHANNEL}
        x, z = 0.1 * (i // PER_ROUND % 100), 0.05 * indices["z"]
        yield {
            "coordinates": {"xc": (x, x + 0.1), "yc": (0.1, 0.2), "zc": (z, z + 0.05)},
            "indices": indices,
            "sha256": hashlib.sha256(str(i).encode()).hexdigest(),
            "file": f"set_{count}-c{indices['c']}-r{indices['r']}-z{indices['z']}.tiff",
            "tile_shape": {"y": 2048, "x": 2048},
            "tile_format": "TIFF",
        }


def document_head(count: int) -> dict:
    shape = {"r": -(-count // PER_ROUND), "c": PER_ROUND // PER_CHANNEL, "z": PER_CHANNEL}
    return {"version": "0.1.0", "extras": {}, "dimensions": DIMENSIONS, "shape": shape}


def write_in_the_same_layout(path: Path, count: int) -> None:
    """Write what slicedimage's writer would, without holding it in memory."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document_head(count))[:-1] + ', "tiles": [')
        for i, tile in enumerate(tiles(count)):
            file.write((", " if i else "") + json.dumps(tile, ensure_ascii=False))
        file.write("]}")


def write_with_slicedimage(path: Path, count: int) -> None:
    """Write with slicedimage's own writer, but for the pixels."""
    from slicedimage import ImageFormat, Tile, TileSet, Writer, WriterContract

    class WithoutPixels(WriterContract):
        def write_tile(self, tile_url, tile, tile_format, backend_config=None):  # noqa: ARG002 - their interface
            return tile.sha256

    head = document_head(count)
    tile_set = TileSet(head["dimensions"], head["shape"])
    for tile in tiles(count):
        known = {key: tile[key] for key in ("coordinates", "indices", "tile_shape", "sha256")}
        tile_set.add_tile(Tile(**known))
    Writer.write_to_path(tile_set, path, writer_contract=WithoutPixels(), tile_format=ImageFormat.TIFF)


def make(folder: Path, count: int) -> Path:
    """Return a document of `count` tiles, made if it is not there."""
    path = folder / f"set_{count}.json"
    write_in_the_same_layout(path, count)
    if count <= BY_SLICEDIMAGE:
        other = folder / "slicedimage" / path.name
        other.parent.mkdir(exist_ok=True)
        write_with_slicedimage(other, count)
        ours, theirs = (json.loads(file.read_text()) for file in (path, other))
        theirs["dimensions"] = sorted(theirs["dimensions"], key=DIMENSIONS.index)  # a set's order: random
        if json.dumps(ours) != json.dumps(theirs):
            raise SystemExit(f"{path} differs from what slicedimage writes: {other}")
        return other
    return path


def open_with_slicedfs(path: Path) -> int:
    import slicedfs

    return len(slicedfs.open(path).tiles)


def open_with_slicedimage(path: Path) -> int:
    from slicedimage import Reader

    return len(Reader.parse_doc(path.name, path.parent.as_uri()).tiles())


OPENERS = {"slicedfs": open_with_slicedfs, "slicedimage": open_with_slicedimage}


def measure_here(library: str, path: Path, warm_up: Path) -> None:
    """Print seconds and memory of opening one document in this process; a tiny one is opened before for the imports."""
    warnings.simplefilter("ignore")
    OPENERS[library](warm_up)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu_start = time.perf_counter(), time.process_time()
    count = OPENERS[library](path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "tiles": count,
                "seconds": seconds,
                "cpu": cpu,
                "added": (peak - before) / MEGABYTE,
                "peak": peak / MEGABYTE,
            }
        )
    )


def measure(libraries: list[str], path: Path, warm_up: Path, repeat: int) -> dict[str, dict]:
    """Return, for each library, the best time and the largest memory of `repeat` fresh processes.

    The libraries take turns, so that what else the machine does meets all of them.
    """
    root = str(Path(__file__).parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}
    runs = {library: [] for library in libraries}
    for _ in range(repeat):
        for library in libraries:
            command = [sys.executable, __file__, "--here", library, str(path), str(warm_up)]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            runs[library].append(json.loads(done.stdout))
    return {
        library: {
            "tiles": of_library[0]["tiles"],
            "seconds": min(run["seconds"] for run in of_library),
            "cpu": min(run["cpu"] for run in of_library),
            "added": max(run["added"] for run in of_library),
            "peak": max(run["peak"] for run in of_library),
        }
        for library, of_library in runs.items()
    }


def report(count: int, size: int, ours: dict, theirs: dict | None) -> list[str]:
    """Print the lines of one document; return the goals that are not met."""
    for library, run in (("slicedfs", ours), ("slicedimage", theirs)):
        if run is None:
            print(f"{count:>10,} {size / 1e6:>8.1f}  {library:<12} {'not measured (--all measures it)':>38}")
            continue
        if run["tiles"] != count:
            raise SystemExit(f"{library} found {run['tiles']} tiles instead of {count}")
        print(
            f"{count:>10,} {size / 1e6:>8.1f}  {library:<12}"
            f" {run['seconds']:>10.4f} {run['cpu']:>10.4f} {run['added']:>12.1f} {run['peak']:>12.1f}"
        )
    reached = {"seconds": ours["seconds"], "peak MB": ours["peak"]}
    if theirs is not None:
        reached["times faster"] = theirs["seconds"] / ours["seconds"]
        reached["times less memory"] = theirs["added"] / max(ours["added"], 0.1)
        text = f"{reached['times faster']:.1f} times faster"
        if theirs["added"] > 1:  # that of a small document vanishes in what the process has already
            text += f", {reached['times less memory']:.1f} times less memory"
        print(f"{'':>33} {text}")
    return [text for name, goal in GOALS.get(count, {}).items() for text in verdict(count, name, goal, reached)]


def verdict(count: int, name: str, goal: float, reached: dict[str, float]) -> list[str]:
    """Print whether one goal is met; return it if it is not."""
    is_least = name.startswith("times")
    text = f"{count:,} tiles: {'at least' if is_least else 'at most'} {goal:g} {name}"
    is_met = reached[name] >= goal if is_least else reached[name] <= goal
    print(f"{'':>33} goal {text}: {'met' if is_met else 'NOT MET'} ({reached[name]:.2f})")
    return [] if is_met else [text]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="measure slicedimage on the largest documents, too")
    parser.add_argument("--here", nargs=3, metavar=("LIBRARY", "DOCUMENT", "WARM_UP"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        library, path, warm_up = arguments.here
        measure_here(library, Path(path), Path(warm_up))
        return 0
    failed = []
    print(f"{'tiles':>10} {'MB':>8}  {'library':<12} {'seconds':>10} {'CPU s':>10} {'MB added':>12} {'MB peak':>12}")
    with tempfile.TemporaryDirectory() as folder:
        warm_up = make(Path(folder), 10)
        for count in arguments.tiles:
            path = make(Path(folder), count)
            is_slow = count > SLOW and not arguments.all
            runs = measure([*OPENERS][: 1 if is_slow else 2], path, warm_up, arguments.repeat)
            failed += report(count, path.stat().st_size, runs["slicedfs"], runs.get("slicedimage"))
            path.unlink()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
