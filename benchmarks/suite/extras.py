"""Rows that are no reader: cost to open by number of tiles, planning, memory, cache."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import open_documents
from benchmarks.suite.process import ROOT
from benchmarks.suite.server import Server

__all__ = ["Extras", "measure_extras"]

MEGABYTE = 1e6


class Extras:
    """What to measure: `counts` tiles are opened; `gib` are read in pieces."""

    def __init__(self, counts: list[int], gib: float, planned: int, repeat: int) -> None:
        self.counts, self.gib, self.planned, self.repeat = counts, gib, planned, repeat


def _child(*arguments: str) -> object:
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(ROOT))))
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.suite.measures", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    return json.loads(done.stdout)


def opening(extras: Extras) -> list[dict]:
    """Open documents of growing size, beside slicedimage up to 100,000 tiles."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_documents.write_in_the_same_layout(folder / "warm.json", 10)
        for count in extras.counts:
            path = folder / f"{count}.json"
            open_documents.write_in_the_same_layout(path, count)
            libraries = ["slicedfs", "slicedimage"] if count <= 100_000 else ["slicedfs"]
            try:
                runs = open_documents.measure(libraries, path, folder / "warm.json", extras.repeat)
            except subprocess.CalledProcessError:  # without slicedimage
                runs = open_documents.measure(["slicedfs"], path, folder / "warm.json", extras.repeat)
            ours, theirs = runs["slicedfs"], runs.get("slicedimage")
            rows.append(
                {
                    "tiles": count,
                    "document_mb": path.stat().st_size / MEGABYTE,
                    "seconds": ours["seconds"],
                    "us_per_tile": ours["seconds"] / count * 1e6,
                    "added_mb": ours["added"],
                    "slicedimage_s": theirs and theirs["seconds"],
                    "slicedimage_added_mb": theirs and theirs["added"],
                }
            )
            path.unlink()
    return rows


def cache(server: Server) -> dict:
    """Read the same plane in two processes that share a tile cache; count what the second asks for."""
    url = f"{server.url(0)}/npy-sha256.json"
    with tempfile.TemporaryDirectory() as folder:
        before = _child("cached", url, folder)
        mark = server.mark()
        after = _child("cached", url, folder)
        requests = server.requests_since(mark, 0)
    if before["pixels"] != after["pixels"]:
        raise RuntimeError("the cache gave other pixels")
    tiles = [request for request in requests if not request.path.endswith(".json")]
    return {
        "first_s": before["seconds"],
        "second_s": after["seconds"],
        "requests": len(requests),
        "tile_requests": len(tiles),
    }


def measure_extras(extras: Extras, server: Server, volume_gib: float, say: Callable[[str], None]) -> dict:
    """Measure all; what fails is left out, and `say` says why."""
    times = str(max(1, round(extras.gib / volume_gib)))
    tasks: dict[str, Callable[[], object]] = {
        "planning": lambda: _child("planning", str(extras.planned)),
        "pieces": lambda: _child("pieces", f"{server.url(0)}/npy.json", times),
        "whole": lambda: _child("whole", f"{server.url(0)}/npy.json"),
        "cache": lambda: cache(server),
        "opening": lambda: opening(extras),
    }
    found: dict[str, object] = {}
    for name, task in tasks.items():
        try:
            found[name] = task()
            say(f"{name}: done")
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            found[name] = None
            say(f"{name} failed: {error}")
    return found
