"""What slicedfs promises about cost, each as a row: met or not, computed from the numbers of one run. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["TIE", "Goal", "goals"]

TIE = 1.03
"""Medians that differ by less than 3 % count as equal: that of the ceiling itself scatters by as much."""
_PEERS = ("W2", "W3", "W3x", "W4", "W5", "W6")
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """One row."""

    topic: str
    what: str
    """What is compared with what."""
    goal: float
    is_least: bool
    """True: the value must be at least the goal; False: at most."""
    value: float | None
    """None: not measured."""
    unit: str = "x"
    slack: float = 1.0
    """Factor by which a value may miss the goal and still count as equal."""

    @property
    def is_met(self) -> bool | None:
        """None where there is no value."""
        if self.value is None:
            return None
        if self.is_least:
            return self.value * self.slack >= self.goal
        return self.value <= self.goal * self.slack

    def as_row(self) -> dict:
        """Give what is written to results.json."""
        return asdict(self) | {"is_met": self.is_met}


class Table:
    """The runs by reader, format, workload and delay."""

    def __init__(self, runs: Iterable[Row]) -> None:
        self.runs = [run for run in runs if not run["note"] and run["wall"] is not None]
        self._by_key = {(run["reader"], run["format"], run["workload"], run["delay"]): run for run in self.runs}

    def get(self, name: str, workload: str, delay: float, value: str = "wall") -> float | None:
        """Give a number of "reader:format", None where it was not measured."""
        reader, _, data = name.partition(":")
        run = self._by_key.get((reader, data, workload, delay))
        return None if run is None else run.get(value)

    def delays(self) -> list[float]:
        """Give those that were measured."""
        return sorted({run["delay"] for run in self.runs})

    def best(self, workload: str, delay: float, fits: Callable[[Row], bool]) -> Row | None:
        """Give the fastest run that `fits`."""
        found = [run for run in self.runs if run["workload"] == workload and run["delay"] == delay and fits(run)]
        return min(found, key=lambda run: run["wall"], default=None)


def goals(results: Mapping[str, Any]) -> list[Goal]:
    """Give all rows for what ``benchmarks.peers`` has written to results.json."""
    table = Table(results["runs"])
    rows = [
        *_near_the_ceiling(table),
        *_decoding(table),
        *_cpu(table),
        *_against_peers(table),
        *_windows(table, results["asked"]),
        *_round_trips(table),
        *_extras(results["extras"]),
        *_tail(table),
        *_memory(results["extras"]),
    ]
    return list(rows)


def _ratio(value: float | None, to: float | None) -> float | None:
    return None if value is None or not to else value / to


def _near_the_ceiling(table: Table) -> Iterator[Goal]:
    for delay, most, workloads in ((50.0, 1.1, ("W2", "W4", "W5")), (0.0, 1.5, ("W2", "W5"))):
        for workload in workloads:
            value = _ratio(table.get("slicedfs-64:npy", workload, delay), table.get("raw-sockets:npy", workload, delay))
            what = f"{workload} at {delay:g} ms: slicedfs-64 / raw-sockets (64 connections)"
            yield Goal("whole tiles", what, most, False, value)
    for workload in ("W2", "W5"):
        rival = table.best(workload, 0.0, lambda run: run["reader"].startswith("zarr-obstore"))
        value = _ratio(table.get("slicedfs:npy", workload, 0.0), rival and rival["wall"])
        what = f"{workload} at 0 ms: slicedfs / {rival['reader'] if rival else 'zarr-obstore'}"
        yield Goal("whole tiles", what, 1.0, False, value, slack=TIE)


def _decoding(table: Table) -> Iterator[Goal]:
    for delay in table.delays():
        for data in ("png", "tiffdef"):
            wire = table.get(f"raw-sockets:{data}", "W5q", delay)
            decode = table.get(f"decode-only:{data}", "W5q", 0.0)
            larger = max(wire, decode) if wire and decode else None
            value = _ratio(table.get(f"slicedfs:{data}", "W5q", delay), larger)
            what = f"W5q of {data} at {delay:g} ms: slicedfs / the larger of wire time and decode time on all cores"
            yield Goal("decoding", what, 1.25, False, value)


def _cpu(table: Table) -> Iterator[Goal]:
    value = _ratio(table.get("slicedfs-64:npy", "W5", 0.0, "cpu"), table.get("raw-aiohttp:npy", "W5", 0.0, "cpu"))
    yield Goal("CPU", "CPU seconds a tile, W5 at 0 ms: slicedfs-64 / bare aiohttp", 1.5, False, value)


def _against_peers(table: Table) -> Iterator[Goal]:
    for delay in (10.0, 50.0):
        for workload in _PEERS:
            rival = table.best(workload, delay, _is_default_peer)
            value = _ratio(table.get("slicedfs:npy", workload, delay), rival and rival["wall"])
            what = f"{workload} at {delay:g} ms, default settings: slicedfs / {_name(rival)}"
            yield Goal("fastest", what, 1.0, False, value, slack=TIE)
    rival = table.best("W3x", 50.0, _is_default_peer)
    value = _ratio(rival and rival["wall"], table.get("slicedfs:npy", "W3x", 50.0))
    yield Goal("fastest", f"W3x at 50 ms, default settings: {_name(rival)} / slicedfs", 3.0, True, value)


def _is_default_peer(run: Row) -> bool:
    return bool(run["kind"] == "peer" and run["default"])


def _name(run: Row | None) -> str:
    return "the best peer" if run is None else f"{run['reader']} ({run['format']})"


def _windows(table: Table, asked: Mapping[str, Row]) -> Iterator[Goal]:
    delay = max(table.delays(), default=0.0)
    for workload in ("W4w", "W3", "W3x"):
        least = asked.get(workload, {})
        for data in ("npy", "tiff"):
            moved = table.get(f"slicedfs:{data}", workload, delay, "bytes")
            sent = table.get(f"slicedfs:{data}", workload, delay, "requests")
            what = f"{workload} of {data}: bytes on the wire / bytes of the rows touched"
            yield Goal("small windows", what, 1.15, False, _ratio(moved, least.get("row_bytes")))
            what = f"{workload} of {data}: requests / tiles touched, with a header each where the layout is not known"
            yield Goal("small windows", what, 2.0, False, _ratio(sent, least.get("tiles")))


def _round_trips(table: Table) -> Iterator[Goal]:
    delay = max(table.delays(), default=0.0)
    if not delay:
        return
    for workload, what in (("W2", "whole tiles"), ("W4", "whole tiles"), ("W4w", "rows of tiles")):
        for data in ("npy", "tiff"):
            value = table.get(f"slicedfs:{data}", workload, delay, "trips")
            yield Goal("round trips", f"{workload} of {data}: {what}, layout known", 1, False, value, "")
    for data in ("npy", "tiff"):
        value = table.get(f"slicedfs:{data}", "W4w", delay, "first_trips")
        yield Goal("round trips", f"W4w of {data}: rows of tiles, the first time", 2, False, value, "")


def _extras(extras: Mapping[str, Any]) -> Iterator[Goal]:
    for row in extras.get("planning") or ():
        what = f"{row['touched']:,} of {row['tiles']:,} tiles ({row['layout']}): time to plan / (1 ms + 2 µs a tile)"
        yield Goal("planning", what, 1.0, False, row["seconds"] / (1e-3 + 2e-6 * row["touched"]))
    opened = {row["tiles"]: row for row in extras.get("opening") or ()}
    million = opened.get(1_000_000)
    yield Goal("opening", "10^6 tiles", 3.0, False, million and million["seconds"], "s")
    value = million and million["added_mb"] / million["document_mb"]
    yield Goal("opening", "10^6 tiles: memory added / size of the document", 3.0, False, value)
    both = [row for row in opened.values() if row.get("slicedimage_s")]
    value = both[-1]["slicedimage_s"] / both[-1]["seconds"] if both else None
    what = f"{both[-1]['tiles']:,} tiles: slicedimage / slicedfs" if both else "slicedimage / slicedfs"
    yield Goal("opening", what, 20.0, True, value)
    large = sorted(opened)[-2:]
    value = None
    if len(large) == 2 and large[1] >= 1_000_000:
        few, many = (opened[count]["seconds"] / count for count in large)
        value = many / few
    what = f"time a tile, {' / '.join(f'{count:,}' for count in reversed(large))} tiles"
    yield Goal("opening", f"growth: {what}", 1.25, False, value)
    cached = extras.get("cache")
    yield Goal("cache", "W7: tile requests of a second process", 0, False, cached and cached["tile_requests"], "")


def _tail(table: Table) -> Iterator[Goal]:
    value = _ratio(table.get("slicedfs:npy", "W6", 50.0, "p99"), table.get("raw-sockets:npy", "W6", 50.0, "p50"))
    yield Goal("tail", "W6 at 50 ms: p99 of slicedfs / p50 of raw-sockets", 1.2, False, value)


def _memory(extras: Mapping[str, Any]) -> Iterator[Goal]:
    pieces = extras.get("pieces") or {}
    what = f"{pieces.get('gib', 8):g} GiB in pieces of {pieces.get('piece_mib', 64):g} MiB: peak"
    yield Goal("memory", what, 1.0, False, pieces.get("peak", 0) / 2**30 or None, "GiB")
    whole = extras.get("whole")
    value = (whole["peak"] - whole["output"]) / 2**20 if whole else None
    yield Goal("memory", "one read of the whole volume: peak, less the output", 512, False, value, "MiB")
