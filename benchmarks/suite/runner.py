"""Rounds: every reader in turn, so that what else the machine does meets all of them alike."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.suite.pixels import ImageSet
from benchmarks.suite.process import Process
from benchmarks.suite.readers import READERS
from benchmarks.suite.server import Server
from benchmarks.suite.workloads import size_of

__all__ = ["PRIME", "Lane", "Measured", "Settings", "formats", "lanes", "measure"]

PRIME = -1.0
"""The delay of the port where readers import what they need; nothing is counted there."""
_WHOLE = frozenset({"W5", "W5q"})
_DECODED = frozenset({"png", "tiffdef"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured."""

    images: ImageSet
    delays: tuple[float, ...]
    """Milliseconds."""
    workloads: tuple[str, ...]
    readers: tuple[str, ...]
    repeat: int
    """Timed rounds at most, after the one that warms up."""
    singles: int
    """Tiles of W6."""
    limit: float
    """Seconds after which a reader is stopped."""
    budget: float
    """Seconds that the rounds of one peer may take together; twice that for slicedfs and the ceilings."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One reader on one format."""

    reader: str
    data: str

    def does(self, workload: str, delay: float, delays: Sequence[float]) -> bool:
        """Tell whether this pair is measured: whole volumes are for a few, decoding is measured on a quarter.

        Peers with settings of one's own are measured at the least and the largest of `delays` only.
        """
        spec = READERS[self.reader]
        if spec.kind in {"peer", "s3"} and not spec.default and delay not in {min(delays), max(delays)}:
            return False
        if self.reader == "decode-only":
            return workload == "W5q" and delay == 0
        if self.data in _DECODED:
            return workload == "W5q" or (spec.kind != "ceiling" and workload in {"W2", "W3"})
        if workload == "W5q":
            return False
        if workload == "W5":
            first = self.data in (spec.formats[0], "npy-sha256")
            return first and (delay == 0 or spec.default or spec.kind == "ours" or self.reader == "raw-sockets")
        return True


@dataclass(slots=True)
class Measured:
    """One lane on one workload at one delay; a row of results.json."""

    reader: str
    format: str
    kind: str
    default: bool
    delay: float
    workload: str
    note: str = ""
    """Why there is no number, or why not to believe it."""
    first: float | None = None
    """Seconds of the round that warmed connections up."""
    first_trips: int = 0
    walls: list[float] = field(default_factory=list)
    """Seconds of each round after it."""
    cpus: list[float] = field(default_factory=list)
    peak: int = 0
    """Most bytes of memory of the process."""
    requests: int = 0
    bytes: int = 0
    trips: int = 0
    each: list[float] = field(default_factory=list)
    """Seconds of each single read of W6."""

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return sum(self.walls) + (self.first or 0)

    def as_row(self) -> dict:
        """Give what is written to results.json."""
        row = asdict(self)
        each = sorted(row.pop("each"))
        row["wall"] = median(self.walls) if self.walls else self.first
        row["cpu"] = median(self.cpus) if self.cpus else None
        if each:
            row["p50"], row["p99"] = each[len(each) // 2], each[min(len(each) - 1, len(each) * 99 // 100)]
        return row


def lanes(settings: Settings) -> list[Lane]:
    """Give all readers on all their formats."""
    return [Lane(name, data) for name in settings.readers for data in READERS[name].formats]


class _Rounds:
    def __init__(self, settings: Settings, server: Server, folder: Path, say: Callable[[str], None]) -> None:
        self._settings, self._server, self._say = settings, server, say
        self._processes = {name: Process(name, settings.images, folder) for name in settings.readers}
        self._broken: dict[Lane, str] = {}
        self._pace: dict[tuple[Lane, float], float] = {}
        """Seconds for each tile of W4, by delay: to foretell what would take too long."""
        self.rows: list[Measured] = []
        self.opens: list[dict] = []

    def run(self) -> None:
        """Measure everything."""
        self._prime()
        for delay in self._settings.delays:
            for workload in self._settings.workloads:
                start = time.monotonic()
                self._round(workload, delay)
                self._say(f"{workload} at {delay:g} ms: {time.monotonic() - start:.0f} s")

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.stop()

    def _prime(self) -> None:
        """Let all processes import at the same time; what fails says so again in its row."""
        url = self._server.url(PRIME)
        for name, process in self._processes.items():
            process.prime(READERS[name].formats[0], url)
        for name, process in self._processes.items():
            answer = process.receive(120)
            if "missing" in answer:
                self._broken |= {lane: _not_installed(answer) for lane in lanes(self._settings) if lane.reader == name}
        self._say(f"{len(self._processes)} readers are ready")

    def _round(self, workload: str, delay: float) -> None:
        rows = {
            lane: self._row(lane, workload, delay)
            for lane in lanes(self._settings)
            if lane.does(workload, delay, self._settings.delays)
        }
        self.rows += rows.values()
        for turn in range(self._settings.repeat + 1):
            for lane, row in rows.items():
                if not row.note and not self._is_enough(row):
                    self._turn(lane, row, turn)

    def _row(self, lane: Lane, workload: str, delay: float) -> Measured:
        spec = READERS[lane.reader]
        row = Measured(lane.reader, lane.data, spec.kind, spec.default, delay, workload, self._broken.get(lane, ""))
        tiles = size_of(workload, self._settings.images, self._settings.singles).tiles
        foretold = self._pace.get((lane, delay), 0) * tiles
        if spec.kind == "peer" and foretold > 4 * self._settings.limit:
            row.note = f"not run: about {foretold:.0f} s"
        return row

    def _is_enough(self, row: Measured) -> bool:
        """Tell whether another round would cost too much; slicedfs and the ceilings get at least one."""
        if row.first is None:
            return False
        if row.kind == "peer":
            return row.spent + row.first > self._settings.budget
        return bool(row.walls) and row.spent + row.first > 2 * self._settings.budget

    def _turn(self, lane: Lane, row: Measured, turn: int) -> None:
        process, limit = self._processes[lane.reader], self._settings.limit
        url = self._server.url(row.delay)
        if not process.is_open(lane.data, url):
            mark = self._server.mark()
            opened = process.open(lane.data, url, self._server.url(PRIME), limit)
            if self._failed(lane, row, opened):
                return
            told = {"reader": lane.reader, "format": lane.data, "delay": row.delay, "wall": opened["wall"]}
            self.opens.append(told | asdict(self._server.since(mark, row.delay)))
        command = {"format": lane.data, "workload": row.workload, "turn": turn, "singles": self._settings.singles}
        process.send(command | {"do": "ready"})
        if self._failed(lane, row, process.receive(max(60, limit))):
            return
        mark = self._server.settled()
        process.send(command | {"do": "run"})
        answer = process.receive(limit)
        if self._failed(lane, row, answer):
            return
        self._take(row, answer, turn, mark)
        if row.workload == "W4":
            self._pace[lane, row.delay] = answer["wall"] / self._settings.images.z

    def _take(self, row: Measured, answer: dict, turn: int, mark: int) -> None:
        traffic = self._server.since(mark, row.delay)
        row.requests, row.bytes, row.trips = traffic.requests, traffic.bytes, traffic.trips
        row.peak = max(row.peak, answer["peak"])
        row.note = f"wrong: {answer['wrong']}" if answer["wrong"] else ""
        if not turn:
            row.first, row.first_trips = answer["wall"], traffic.trips
            return
        row.walls.append(answer["wall"])
        row.cpus.append(answer["cpu"])
        if row.workload == "W6":
            row.each += answer["each"]

    def _failed(self, lane: Lane, row: Measured, answer: dict) -> bool:
        if "missing" in answer:
            row.note = self._broken[lane] = _not_installed(answer)
        elif "error" in answer:
            row.note = answer["error"] if answer["error"].startswith(">") else f"failed: {answer['error']}"
        return bool(row.note)


def _not_installed(answer: dict) -> str:
    return f"not installed: {answer['missing']}"


def measure(
    settings: Settings, server: Server, folder: Path, say: Callable[[str], None]
) -> tuple[list[dict], list[dict]]:
    """Measure all readers; return the rows of "runs" and of "opens".

    Parameters
    ----------
    server
        With a port for each delay, and for PRIME.
    folder
        Where the data lie.
    say
        Gets a line after each workload.
    """
    rounds = _Rounds(settings, server, folder, say)
    try:
        rounds.run()
    finally:
        rounds.close()
    return [row.as_row() for row in rounds.rows], rounds.opens


def formats(chosen: Iterable[Lane]) -> list[str]:
    """Give the formats that `chosen` need, each once."""
    return list(dict.fromkeys(lane.data for lane in chosen))
