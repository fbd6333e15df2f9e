"""The tile sets of the tests of partial reads: three pictures, in files that other libraries wrote."""

from typing import Any

from read.files import planes
from read.waves import TileBench

__all__ = ["PICTURES", "SHAPE", "STATED", "WINDOW", "bench_of"]

STATED = {"slicedfs": {"dtype": "uint16"}}
SHAPE = {"y": 700, "x": 600}
PICTURES = [picture[:, :600] for picture in planes(3, 700)]
WINDOW = slice(200, 240), slice(100, 140)


def bench_of(name: str, files: list[bytes], pixels: list[Any] | None = None, **options: Any) -> TileBench:
    """Give a tile set of `files`; of TIFF files unless said otherwise."""
    return TileBench(name, files, PICTURES if pixels is None else pixels, **options)
