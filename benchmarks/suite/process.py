"""The other end of worker.py: the process of one reader, started, asked, and stopped when it takes too long."""

import json
import os
import selectors
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from benchmarks.suite.pixels import ImageSet

__all__ = ["ROOT", "Process"]

ROOT = Path(__file__).parents[2]
"""Where the package benchmarks is."""


class Process:
    """The worker of one reader; started when it is first asked, and again when it had to be stopped."""

    def __init__(self, reader: str, images: ImageSet, folder: Path) -> None:
        shape = [str(n) for n in (images.r, images.c, images.z, images.mosaic)]
        self._command = [sys.executable, "-m", "benchmarks.suite.worker", reader, *shape]
        path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
        self._environment = os.environ | {"PYTHONPATH": path, "BENCHMARK_DATA": str(folder)}
        self._process: subprocess.Popen[str] | None = None
        self._bases: dict[str, str] = {}
        """Format -> what is open."""

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=self._environment, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def send(self, command: dict) -> None:
        """Send a command without waiting for its answer."""
        with suppress(BrokenPipeError):  # `receive` says so
            pipe, _ = self._pipes()
            pipe.write(json.dumps(command) + "\n")
            pipe.flush()

    def receive(self, limit: float) -> dict:
        """Give the next answer, or an error where the process died or took longer than `limit` seconds."""
        _, pipe = self._pipes()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(limit):
                self.stop()
                return {"error": f"> {limit:g} s"}
        line = pipe.readline()
        if not line:
            self.stop()
            return {"error": "its process died"}
        return json.loads(line)

    def prime(self, data: str, base: str) -> None:
        """Send what makes it import all that it needs; its answer must be received."""
        self.send({"do": "prime", "format": data, "base": base})
        self._bases[data] = base

    def is_open(self, data: str, base: str) -> bool:
        """Tell whether `data` was opened at `base`."""
        return self._bases.get(data) == base

    def open(self, data: str, base: str, prime: str, limit: float) -> dict:
        """Open `data` at `base`, a new process at `prime` before."""
        if not self._bases:
            self.prime(data, prime)
            answer = self.receive(max(60, limit))
            if "wall" not in answer:
                return answer
        self._bases[data] = base
        self.send({"do": "open", "format": data, "base": base})
        return self.receive(limit)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self._bases = None, {}
