"""Numbers -> Markdown. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.suite.workloads import TITLES

__all__ = ["best_table", "goal_table", "report", "run_table"]

Row = Mapping[str, Any]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)


def _delay(delay: float) -> str:
    return f"{delay:g} ms a request"


def run_table(results: Mapping[str, Any], workload: str, delay: float) -> str:
    """Give the table of one workload at one delay, fastest first; what was not measured last, with the reason."""
    runs = [run for run in results["runs"] if run["workload"] == workload and run["delay"] == delay]
    if not runs:
        return ""
    asked = results["asked"][workload]
    ceiling = next(
        (run["wall"] for run in runs if (run["reader"], run["format"]) == ("raw-sockets", "npy") and run["wall"]), None
    )
    done = sorted((run for run in runs if not run["note"] and run["wall"] is not None), key=lambda run: run["wall"])
    rows = [
        [
            f"**{run['reader']}**" if run["kind"] == "ours" else run["reader"],
            run["format"],
            _number(run["wall"], ".4f"),
            _number(run["wall"] / ceiling if ceiling else None, ".2f"),
            _number(run["first"], ".4f"),
            _number(run["cpu"]),
            f"{run['requests']:,}",
            str(run["trips"]) if delay else "",
            _number(run["bytes"] / asked["bytes"], ".2f"),
            _number(run["peak"] / 2**20, ",.0f"),
            *([f"{run['p50'] * 1e3:.1f} / {run['p99'] * 1e3:.1f}" if "p50" in run else ""] if workload == "W6" else []),
        ]
        for run in done
    ]
    singles = ["p50 / p99 ms"] if workload == "W6" else []
    head = ["reader", "format", "wall s", "x raw", "first s", "CPU s", "requests", "trips", "moved / asked", "peak MiB"]
    failed = [
        [run["reader"], run["format"], run["note"], *[""] * (len(head) - 3 + len(singles))]
        for run in runs
        if run["note"]
    ]
    title = f"### {workload}: {TITLES[workload]}, {asked['tiles']:,} tiles, {_delay(delay)}\n\n"
    return title + _markdown([*head, *singles], rows + failed) + "\n"


def goal_table(goals: Sequence[Row]) -> str:
    """Give the table of goals, met or not."""
    words = {True: "met", False: "**not met**", None: "not measured"}
    rows = [
        [
            goal["topic"],
            goal["what"],
            f"{'>=' if goal['is_least'] else '<='} {goal['goal']:g} {goal['unit']}".strip(),
            "" if goal["value"] is None else f"{goal['value']:.3g} {goal['unit']}".strip(),
            words[goal["is_met"]],
        ]
        for goal in goals
    ]
    return _markdown(["topic", "what", "goal", "measured", ""], rows)


def best_table(results: Mapping[str, Any], delay: float) -> str:
    """Give the short table of the README: seconds of slicedfs, of the ceiling and of each peer as it comes."""
    runs = [run for run in results["runs"] if run["delay"] == delay]
    workloads = [name for name in TITLES if any(run["workload"] == name and not run["note"] for run in runs)]
    names = dict.fromkeys(
        (run["reader"], run["format"])
        for run in runs
        if run["default"] or (run["reader"], run["format"]) == ("raw-sockets", "npy")
    )
    cells = {(run["reader"], run["format"], run["workload"]): run for run in runs}

    def cell(name: tuple[str, str], workload: str) -> str:
        run = cells.get((*name, workload))
        if run is None or run["note"].startswith("not run"):
            return ""
        return run["note"].partition(":")[0] if run["note"] else _number(run["wall"])

    rows = [[name[0], name[1], *(cell(name, workload) for workload in workloads)] for name in names]
    rows = [row for row in rows if any(row[2:])]
    return _markdown(["seconds", "format", *workloads], rows)


def _extra_tables(extras: Mapping[str, Any]) -> str:
    text = ""
    for name, rows in extras.items():
        found = rows if isinstance(rows, list) else [rows]
        found = [row for row in found if row]
        if found:
            head = list(dict.fromkeys(key for row in found for key in row))
            cells = [[_cell(row.get(key)) for key in head] for row in found]
            text += f"### {name}\n\n{_markdown(head, cells)}\n"
    return text


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str("" if value is None else value)


def report(results: Mapping[str, Any]) -> str:
    """Give the whole report."""
    settings = results["settings"]
    text = f"# Benchmarks\n\n{settings_line(results)}\n\n## Goals\n\n{goal_table(results['goals'])}\n## Readers\n\n"
    for workload in settings["workloads"]:
        for delay in settings["delays"]:
            text += run_table(results, workload, delay)
    return text + "## Other measurements\n\n" + _extra_tables(results["extras"])


def settings_line(results: Mapping[str, Any]) -> str:
    """Say what was measured, on what."""
    settings, machine = results["settings"], results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"{results['tiles']:,} tiles of 512 x 512 uint16 ({results['tiles'] / 2048:g} GiB) as an array (r, c, z, y, x)"
        f" of {settings['shape']}, from nginx on the loopback interface; {machine['cores']} cores, {machine['system']},"
        f' Python {machine["python"]}. Medians of up to {settings["repeat"]} rounds after one that warms up ("first"),'
        f" every reader in turn. {versions}."
    )
