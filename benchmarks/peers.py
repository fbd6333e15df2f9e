"""slicedfs beside everyone else who reads sub-volumes of tiled images: one command, tables, plots, goals.

    python -m benchmarks.peers [--quick] [--workloads W2 W3x] [--delays 0 50] [--readers slicedfs tensorstore]

The data are written once (about 13 GiB; 3.5 GiB with --quick), then served by nginx on the loopback interface, without
delay and with one of so many milliseconds a request. Each reader has a process of its own; all take turns. Requests,
bytes and round trips are those of the server's log. Results are checked pixel by pixel, after the time is taken. What
is not installed says so in its row. README.md says what the numbers mean.

`--out` gets results.json, report.md and the plots. Exit code 1 where a goal is not met.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.suite.data import build
from benchmarks.suite.extras import Extras, measure_extras
from benchmarks.suite.goals import goals
from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.plots import plot_all
from benchmarks.suite.readers import READERS
from benchmarks.suite.runner import PRIME, Settings, formats, lanes, measure
from benchmarks.suite.server import Server
from benchmarks.suite.tables import goal_table, report
from benchmarks.suite.workloads import READS, size_of

PACKAGES = (
    *("slicedfs", "numpy", "xarray", "fsspec", "aiohttp", "s3fs", "obstore", "zarr", "tensorstore", "cloud-volume"),
    *("kerchunk", "virtualizarr", "slicedimage", "dask", "tifffile", "imagecodecs", "async-tiff"),
)
_START = time.monotonic()


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"{time.monotonic() - _START:7.1f} s  {text}", file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    """Give the versions of what is installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the data, few rounds: less than 4 minutes")
    parser.add_argument("--workloads", nargs="+", choices=READS, default=list(READS))
    parser.add_argument("--delays", nargs="+", type=float, metavar="MS", help="default: 0 10 50; 0 50 with --quick")
    parser.add_argument("--readers", nargs="+", choices=READERS, metavar="READER", help=f"of {', '.join(READERS)}")
    parser.add_argument("--repeat", type=int, help="timed rounds at most; default 5, 3 with --quick")
    parser.add_argument("--shape", type=int, nargs=4, metavar=("R", "C", "Z", "MOSAIC"), help="of the image set")
    parser.add_argument("--limit", type=float, metavar="S", help="stop a reader after so many seconds; default 15, 3")
    parser.add_argument("--no-extras", action="store_true", help="leave out what is no reader")
    parser.add_argument("--large", action="store_true", help="open 10^7 tiles, too")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "slicedfs-benchmarks")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "output")
    return parser.parse_args(arguments)


def settings_of(given: argparse.Namespace) -> Settings:
    """Give what to measure."""
    images = ImageSet(*given.shape) if given.shape else ImageSet(mosaic=2 if given.quick else 4)
    readers = given.readers or [name for name, spec in READERS.items() if spec.quick or not given.quick]
    return Settings(
        images=images,
        delays=tuple(map(float, given.delays or ([0, 50] if given.quick else [0, 10, 50]))),
        workloads=tuple(name for name in READS if name in given.workloads),
        readers=tuple(readers),
        repeat=given.repeat or (3 if given.quick else 5),
        singles=10 if given.quick else 50,
        limit=given.limit or (3 if given.quick else 15),
        budget=0.5 if given.quick else 3,
    )


def write_data(folder: Path, settings: Settings) -> None:
    """Write what the readers need; what cannot be written for want of a library is told, and its rows fail."""
    build(folder, settings.images, ["npy", "npy-sha256"], say)
    for name in formats(lanes(settings)):
        try:
            build(folder, settings.images, [name], say)
        except ImportError as error:
            say(f"{name} cannot be written: {error}")


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    settings = settings_of(given)
    images = settings.images
    folder = given.data / "-".join(map(str, (images.r, images.c, images.z, images.mosaic)))
    write_data(folder, settings)
    counts = [1000, 10_000, 100_000, 1_000_000, *([10_000_000] if given.large else [])]
    extras = Extras(counts[:3] if given.quick else counts, 2 if given.quick else 8, 10**6, 1 if given.quick else 3)
    with Server(folder, {*settings.delays, 0.0, PRIME}) as server:
        runs, opens = measure(settings, server, folder, say)
        found = {} if given.no_extras else measure_extras(extras, server, images.nbytes / 2**30, say)
    results = {
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "versions": versions(),
        "settings": {
            **{key: value for key, value in asdict(settings).items() if key != "images"},
            "shape": list(images.shape),
            "quick": given.quick,
        },
        "tiles": images.tiles,
        "asked": {name: asdict(size_of(name, images, settings.singles)) for name in settings.workloads},
        "runs": runs,
        "opens": opens,
        "extras": found,
    }
    results["goals"] = [goal.as_row() for goal in goals(results)]
    return write_results(results, given.out)


def write_results(results: dict, folder: Path) -> int:
    """Write all files; print the goals; return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    (folder / "report.md").write_text(report(results), encoding="utf-8")
    try:
        plot_all(results, folder)
    except ImportError as error:
        say(f"no plots: {error}")
    print(goal_table(results["goals"]))
    states = [goal["is_met"] for goal in results["goals"]]
    print(f"{states.count(True)} met, {states.count(False)} not met, {states.count(None)} not measured: {folder}")
    return 1 if False in states else 0


if __name__ == "__main__":
    sys.exit(main())
