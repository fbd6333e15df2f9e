"""Numbers -> PNG, by matplotlib."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.suite.workloads import TITLES

__all__ = ["plot_all"]

_COLOURS = {"ours": "#0b6e4f", "peer": "#8d99ae", "ceiling": "#e0a030", "s3": "#5b8db8"}


def plot_all(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a plot for each workload, and one of the cost to open; return their paths."""
    import matplotlib as mpl

    mpl.use("agg")
    paths = [_plot_workload(results, workload, folder) for workload in results["settings"]["workloads"]]
    paths.append(_plot_opening(results["extras"].get("opening") or [], folder))
    return [path for path in paths if path is not None]


def _plot_workload(results: Mapping[str, Any], workload: str, folder: Path) -> Path | None:
    """Bars of the wall time, a panel for each delay, on a logarithmic axis."""
    from matplotlib.figure import Figure

    runs = [run for run in results["runs"] if run["workload"] == workload and run["wall"] and not run["note"]]
    delays = sorted({run["delay"] for run in runs})
    if not runs:
        return None
    most = max(sum(run["delay"] == delay for run in runs) for delay in delays)
    figure = Figure((6 * len(delays), 1.4 + 0.22 * most), layout="constrained")
    panels = figure.subplots(1, len(delays), squeeze=False)[0]
    for panel, delay in zip(panels, delays, strict=True):
        bars = sorted((run for run in runs if run["delay"] == delay), key=lambda run: -run["wall"])
        names = [f"{run['reader']} ({run['format']})" for run in bars]
        panel.barh(names, [run["wall"] for run in bars], color=[_COLOURS[run["kind"]] for run in bars])
        panel.set_xscale("log")
        panel.set_xlabel("seconds")
        panel.set_title(f"{delay:g} ms a request")
        panel.tick_params("y", labelsize=8)
        panel.grid(axis="x", alpha=0.3)
    figure.suptitle(f"{workload}: {TITLES[workload]} (green: slicedfs, yellow: ceilings)")
    path = folder / f"{workload}.png"
    figure.savefig(path, dpi=110)
    return path


def _plot_opening(rows: list[Mapping[str, Any]], folder: Path) -> Path | None:
    """Seconds to open by number of tiles, both axes logarithmic."""
    from matplotlib.figure import Figure

    if not rows:
        return None
    figure = Figure((6, 4), layout="constrained")
    panel = figure.subplots()
    for key, label, kind in (("seconds", "slicedfs", "ours"), ("slicedimage_s", "slicedimage", "peer")):
        points = [(row["tiles"], row[key]) for row in rows if row.get(key)]
        if points:
            panel.plot(*zip(*points, strict=True), "o-", label=label, color=_COLOURS[kind])
    panel.set(xscale="log", yscale="log", xlabel="tiles", ylabel="seconds", title=f"W1: {TITLES['W1']}")
    panel.grid(alpha=0.3)
    panel.legend()
    path = folder / "W1.png"
    figure.savefig(path, dpi=110)
    return path
