"""Decoding on all cores, with nothing on the wire: files of a local folder, already in memory."""

import os
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np

from benchmarks.suite.data import stem
from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.workloads import Part, Read, touched

__all__ = ["Decode"]


class Decode:
    """PNG by imagecodecs, TIFF by tifffile, in as many threads as there are cores."""

    def __init__(self, base: str, images: ImageSet, data: str) -> None:  # noqa: ARG002 - as all
        self._folder = Path(os.environ["BENCHMARK_DATA"]) / data
        self._extension = {"png": ".png", "tiffdef": ".tiff"}[data]
        self._decode = {"png": _png, "tiffdef": _tiff}[data]
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._bodies: dict[Part, bytes] = {}

    def prepare(self, reads: list[Read]) -> None:
        """Take the files into memory; not timed."""
        places = {part.place for read in reads for part in touched(read)}
        self._bodies = {place: (self._folder / (stem(place) + self._extension)).read_bytes() for place in places}

    def read(self, read: Read) -> np.ndarray:
        """Decode what `prepare` took in."""
        out = np.empty(read.shape, np.uint16)

        def paste(part: Part) -> None:
            out[part.dst] = self._decode(self._bodies[part.place])[part.src]

        list(self._pool.map(paste, touched(read)))
        return out


def _png(body: bytes) -> np.ndarray:
    import imagecodecs

    return imagecodecs.png_decode(body)


def _tiff(body: bytes) -> np.ndarray:
    import tifffile

    return tifffile.imread(BytesIO(body), maxworkers=1)
