"""What the inner pieces cost, without a network: planning, parsing, layouts, pasting.

    python -m benchmarks.micro [NAME …] [--seconds 0.5]

Each piece runs for so many seconds after one call that warms it up; the median and the best call are printed, for each
thing that the piece handles. To compare two versions, run it on both, on a quiet machine.
"""

import argparse
import json
import time
from collections.abc import Callable
from io import BytesIO
from statistics import median

import numpy as np

PIXELS = 512
Piece = tuple[int, Callable[[], object]]
"""How many things a call handles, and the call."""


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, (PIXELS, PIXELS), np.uint16)


def plan_of(cut: int) -> Piece:
    """Look up a crop of a mosaic of 10^6 tiles."""
    from benchmarks.suite.measures import mosaic
    from slicedfs.layout.selection import Selection

    grid = mosaic(1000)
    selection = Selection.whole(grid.shape).outer([slice(0, cut * PIXELS)] * 2)
    return cut * cut, lambda: grid.touched(selection)


def parse() -> Piece:
    """Parse a document of 10,000 tiles, from bytes to columns."""
    from benchmarks.open_documents import document_head, tiles
    from slicedfs.manifest import parse as parse_document

    text = json.dumps(document_head(10_000) | {"tiles": list(tiles(10_000))}).encode()
    return 10_000, lambda: parse_document(text, "memory://set.json")


def encoded(kind: str) -> bytes:
    """Give a tile as a file."""
    file = BytesIO()
    if kind == "npy":
        np.save(file, image())
    else:
        import tifffile

        tifffile.imwrite(file, image(), compression={"tiff": None, "tiffdef": "zlib"}[kind], metadata=None)
    return file.getvalue()


def request_for(kind: str) -> object:
    """Give what a document says of the tile."""
    from slicedfs.codecs import TileRequest

    shape = {"y": PIXELS, "x": PIXELS}
    return TileRequest(f"memory://tile.{kind}", format="NUMPY" if kind == "npy" else "TIFF", shape=shape)


def layout_of(kind: str) -> Piece:
    """Find out where a file's pixels lie."""
    from slicedfs.codecs import layout

    data, request = encoded(kind), request_for(kind)

    def call() -> object:
        steps = layout(request)
        try:
            wanted = next(steps)
            while True:
                wanted = steps.send(data[wanted.start : wanted.stop])
        except StopIteration as done:
            return done.value

    return 1, call


def decode_of(kind: str) -> Piece:
    """Decode a whole file."""
    from slicedfs.codecs import decode

    data, request = encoded(kind), request_for(kind)
    return 1, lambda: decode(data, request, ("y", "x"))


def paste_of(rows: int) -> Piece:
    """Copy rows of a tile from bytes into a larger array, by numpy alone: the floor for what reading does."""
    data, out = encoded("npy"), np.empty((4 * PIXELS, 4 * PIXELS), np.uint16)

    def call() -> object:
        whole = np.frombuffer(data, np.uint16, offset=128).reshape(PIXELS, PIXELS)
        out[:rows, PIXELS : 2 * PIXELS] = whole[:rows]
        return out

    return 1, call


PIECES: dict[str, Callable[[], Piece]] = {
    "plan 1 tile of 10^6": lambda: plan_of(1),
    "plan 10^4 tiles of 10^6": lambda: plan_of(100),
    "parse 10^4 tiles": parse,
    "layout of NPY": lambda: layout_of("npy"),
    "layout of TIFF": lambda: layout_of("tiff"),
    "decode NPY": lambda: decode_of("npy"),
    "decode TIFF": lambda: decode_of("tiff"),
    "decode TIFF, deflate": lambda: decode_of("tiffdef"),
    "paste a tile": lambda: paste_of(PIXELS),
    "paste 100 rows": lambda: paste_of(100),
}


def timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Give the seconds of each call."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of pieces; default: all")
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args(arguments)
    print(f"{'piece':<26} {'median µs':>12} {'best µs':>12} {'µs each':>10} {'calls':>8}")
    for name, make in PIECES.items():
        if given.names and not any(part in name for part in given.names):
            continue
        count, call = make()
        times = timed(call, given.seconds)
        middle = median(times)
        each = middle / count * 1e6
        print(f"{name:<26} {middle * 1e6:>12,.1f} {min(times) * 1e6:>12,.1f} {each:>10.2f} {len(times):>8}")


if __name__ == "__main__":
    main()
