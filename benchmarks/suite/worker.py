"""The process of one reader: ``python -m benchmarks.suite.worker READER R C Z MOSAIC``.

A command a line comes in as JSON, an answer a line goes out:

    {"do": "open", "format": "npy", "base": url}       -> {"wall": seconds}
    {"do": "prime", "format": "npy", "base": url}      -> the same, after one read: all is imported then
    {"do": "ready", "format": "npy", "workload": "W2", "turn": 1, "singles": 50}      -> {"wall": 0}: what is not timed
    {"do": "run", "format": "npy", "workload": "W2", "turn": 1, "singles": 50}
        -> {"wall": …, "cpu": …, "peak": bytes, "each": [seconds of each read], "wrong": ""}

Failures are answers, too: {"error": "…"} or {"missing": "…"}. Libraries may print: their output goes to stderr.
"""

import contextlib
import json
import os
import sys
import time
from typing import IO

from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.readers import READERS, Reader
from benchmarks.suite.workloads import Read, reads, wrong

__all__ = ["peak_memory", "reset_peak"]


_DECODED = ("png", "tiffdef")
_WHOLE = ("W5", "W5q")
"""Here rounds ask for the same tiles again, and a reader that keeps tiles would have them."""


def reset_peak() -> None:
    """Forget the peak of this process's memory, where the kernel can."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123 - a pseudo file
        file.write("5")


def peak_memory() -> int:
    """Give the most bytes of memory that this process has held since `reset_peak`."""
    try:
        with open("/proc/self/status") as file:  # noqa: PTH123 - a pseudo file
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
    except OSError:
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


class _Worker:
    def __init__(self, reader: str, images: ImageSet) -> None:
        self._spec, self._images = READERS[reader], images
        self._readers: dict[str, Reader] = {}

    def answer(self, command: dict) -> dict:
        """Do what `command` says."""
        data = command["format"]
        if command["do"] in {"ready", "run"}:
            chosen = reads(command["workload"], self._images, command["turn"], command["singles"])
            reader = self._readers[data]
            if command["do"] == "run":
                return self._run(reader, chosen)
            if hasattr(reader, "prepare"):
                reader.prepare(chosen)
            if hasattr(reader, "renew") and (data in _DECODED or command["workload"] in _WHOLE):
                reader.renew(command["turn"])
            return {"wall": 0.0}
        start = time.perf_counter()
        self._readers.pop(data, None)
        reader = self._readers[data] = self._spec.open(command["base"], self._images, data)
        if command["do"] == "prime":
            chosen = reads("W4", self._images, 1_000_000)
            if hasattr(reader, "prepare"):
                reader.prepare(chosen)
            self._run(reader, chosen)
        return {"wall": time.perf_counter() - start}

    @staticmethod
    def _run(reader: Reader, selections: list[Read]) -> dict:
        reset_peak()
        each, cpu = [], time.process_time()
        for selection in selections:
            result = None  # or the one before would count as memory of this one
            start = time.perf_counter()
            result = reader.read(selection)
            each.append(time.perf_counter() - start)
        cpu, peak = time.process_time() - cpu, peak_memory()
        said = wrong(selections[-1], result) if getattr(reader, "pixels", True) else ""
        return {"wall": sum(each), "cpu": cpu, "peak": peak, "each": each, "wrong": said}


def _private_stdout() -> IO[str]:
    """Give what stdout was, and let stdout lead to stderr."""
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return private


def main(reader: str, *shape: str) -> None:
    """Answer until stdin ends."""
    out = _private_stdout()
    worker = _Worker(reader, ImageSet(*map(int, shape)))
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except ImportError as error:
            answer = {"missing": error.name or str(error)}
        except Exception as error:  # noqa: BLE001 - whatever a library raises becomes a cell of the table
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    os._exit(0)  # some libraries' threads do not end by themselves


if __name__ == "__main__":
    main(*sys.argv[1:])
