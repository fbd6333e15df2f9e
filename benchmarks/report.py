"""The figures of the README, from what ``python -m benchmarks.peers`` measured.

    python -m benchmarks.report benchmarks/output/results.json [--write README.md]

Prints the block, or puts it between the lines ``<!-- benchmarks: begin -->`` and ``<!-- benchmarks: end -->``.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.suite.tables import best_table, goal_table, settings_line
from benchmarks.suite.workloads import TITLES

BEGIN, END = "<!-- benchmarks: begin -->\n", "<!-- benchmarks: end -->\n"


def block(results: Mapping[str, Any]) -> str:
    """Give the Markdown: what was measured, a table for each delay, and the goals."""
    settings = results["settings"]
    titles = ", ".join(f"{name} {TITLES[name]}" for name in TITLES if name in settings["workloads"])
    text = f"`python -m benchmarks.peers{' --quick' if settings['quick'] else ''}` printed this. {titles}.\n\n"
    for delay in settings["delays"]:
        text += f"Seconds at {delay:g} ms a request, default settings:\n\n{best_table(results, delay)}\n"
    return f"{text}{goal_table(results['goals'])}\n{settings_line(results)}\n"


def replaced(text: str, new: str) -> str:
    """Give `text` with `new` between the marks.

    Raises
    ------
    ValueError
        If there is not one pair of marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest:
        raise ValueError(f"the text must hold one line {BEGIN.strip()} and one line {END.strip()} after it")
    return f"{before}{begin}{new}{end}{after}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", type=Path, metavar="README")
    given = parser.parse_args(arguments)
    text = block(json.loads(given.results.read_text()))
    if given.write is None:
        print(text, end="")
        return 0
    given.write.write_text(replaced(given.write.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
