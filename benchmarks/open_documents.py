"""How long it takes to open one document, and how much memory: slicedfs against slicedimage 4.1.1.

    python benchmarks/open_documents.py [--tiles 1000 10000 100000 1000000 10000000] [--repeat 3] [--all]

"index" is the packed index of the same document, which `slicedfs index` wrote; nothing is read of it but its head, as
it is mapped into memory, and columns are made when they are asked for. The last lines tell whether time and memory grow
as the tiles do. Ten million tiles take 3.1 GB of disk, as much memory and half, and minutes to write.

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
    1_000_000: {"seconds": 3.0, "times the document in memory": 3.0},
}
STEEPEST = 1.3
"""How much more a tile of the largest document may cost than one of a document of 100,000."""
DIMENSIONS = ("r", "c", "z", "y", "x")
PER_ROUND, PER_CHANNEL = 40, 10
INDEX = ".slicedfs-index"
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


def tile_text(tile: dict) -> str:
    """Return what json.dumps would, in a third of the time."""
    coordinates = ", ".join(f'"{name}": [{first}, {last}]' for name, (first, last) in tile["coordinates"].items())
    indices = ", ".join(f'"{name}": {label}' for name, label in tile["indices"].items())
    return (
        f'{{"coordinates": {{{coordinates}}}, "indices": {{{indices}}}, "sha256": "{tile["sha256"]}", "file": '
        f'"{tile["file"]}", "tile_shape": {{"y": 2048, "x": 2048}}, "tile_format": "TIFF"}}'
    )


def write_in_the_same_layout(path: Path, count: int) -> None:
    """Write what slicedimage's writer would, without holding it in memory."""
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(document_head(count))[:-1] + ', "tiles": [')
        for i, tile in enumerate(tiles(count)):
            file.write((", " if i else "") + tile_text(tile))
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


def make_index(path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "slicedfs", "index", path], env=environment(), check=True, capture_output=True
    )


def environment() -> dict[str, str]:
    """Return an environment in which this checkout is imported."""
    root = str(Path(__file__).parent.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))}


def open_with_slicedfs(path: Path) -> int:
    import slicedfs

    return len(slicedfs.open(path).tiles)


def open_with_slicedimage(path: Path) -> int:
    from slicedimage import Reader

    return len(Reader.parse_doc(path.name, path.parent.as_uri()).tiles())


def open_index(path: Path) -> int:
    return open_with_slicedfs(path.with_name(path.name + INDEX))


OPENERS = {"slicedfs": open_with_slicedfs, "index": open_index, "slicedimage": open_with_slicedimage}


def peak_memory() -> int:
    """Return the largest memory that the process had; of this program alone, where the system tells (Linux).

    What getrusage tells there begins with the parent's, which fork copied.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmHWM:")[2].split()[0])


def measure_here(library: str, path: Path, warm_up: Path) -> None:
    """Print seconds and memory of opening one document in this process; a tiny one is opened before for the imports."""
    warnings.simplefilter("ignore")
    OPENERS[library](warm_up)
    before = peak_memory()
    start, cpu_start = time.perf_counter(), time.process_time()
    count = OPENERS[library](path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    peak = peak_memory()
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
    runs = {library: [] for library in libraries}
    for _ in range(repeat):
        for library in libraries:
            command = [sys.executable, __file__, "--here", library, str(path), str(warm_up)]
            done = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
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


def report(count: int, size: int, runs: dict[str, dict]) -> list[str]:
    """Print the lines of one document; return the goals that are not met."""
    ours, theirs = runs["slicedfs"], runs.get("slicedimage")
    for library, run in (("slicedfs", ours), ("index", runs["index"]), ("slicedimage", theirs)):
        if run is None:
            print(f"{count:>10,} {size / 1e6:>8.1f}  {library:<12} {'not measured (--all measures it)':>38}")
            continue
        if run["tiles"] != count:
            raise SystemExit(f"{library} found {run['tiles']} tiles instead of {count}")
        print(
            f"{count:>10,} {size / 1e6:>8.1f}  {library:<12}"
            f" {run['seconds']:>10.4f} {run['cpu']:>10.4f} {run['added']:>12.1f} {run['peak']:>12.1f}"
        )
    reached = {"seconds": ours["seconds"], "times the document in memory": ours["added"] * 1e6 / size}
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
    is_least = name in ("times faster", "times less memory")
    text = f"{count:,} tiles: {'at least' if is_least else 'at most'} {goal:g} {name}"
    is_met = reached[name] >= goal if is_least else reached[name] <= goal
    print(f"{'':>33} goal {text}: {'met' if is_met else 'NOT MET'} ({reached[name]:.2f})")
    return [] if is_met else [text]


def report_slope(runs: dict[int, dict]) -> list[str]:
    """Print what one tile costs, by the number of tiles; return the goals that are not met."""
    counts = [count for count in sorted(runs) if count >= 100_000]
    costs = {count: (runs[count]["cpu"] / count * 1e6, runs[count]["added"] / count * 1e6) for count in counts}
    for count, (seconds, memory) in costs.items():
        print(f"{count:>10,} tiles: {seconds:.2f} µs of CPU and {memory:.0f} bytes a tile")
    if len(counts) < 2:
        return []
    steepest = [max(of[i] for of in costs.values()) / costs[counts[0]][i] for i in (0, 1)]
    reached = {"times the cost of a tile": max(steepest)}
    return verdict(counts[-1], "times the cost of a tile", STEEPEST, reached)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="measure slicedimage on the largest documents, too")
    parser.add_argument("--here", nargs=3, metavar=("LIBRARY", "DOCUMENT", "WARM_UP"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        library, path, warm_up = arguments.here
        measure_here(library, Path(path), Path(warm_up))
        return 0
    failed, slope = [], {}
    print(f"{'tiles':>10} {'MB':>8}  {'library':<12} {'seconds':>10} {'CPU s':>10} {'MB added':>12} {'MB peak':>12}")
    with tempfile.TemporaryDirectory() as folder:
        warm_up = make(Path(folder), 10)
        make_index(warm_up)
        for count in arguments.tiles:
            path = make(Path(folder), count)
            is_slow = count > SLOW and not arguments.all
            make_index(path)
            runs = measure([*OPENERS][: 2 if is_slow else 3], path, warm_up, arguments.repeat)
            failed += report(count, path.stat().st_size, runs)
            slope[count] = runs["slicedfs"]
            path.unlink()
            path.with_name(path.name + INDEX).unlink()
    failed += report_slope(slope)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
