"""The examples run as they are, on servers of their own, and the files that they leave are as they should be."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = ("explore.ipynb", "mosaic.ipynb", "rounds.ipynb")
CHECKED = (
    "equal:     requests that selecting caused, and 0",
    "equal:     requests foretold, and seen by the server",
    "equal:     the pixels of slicedfs and of slicedimage",
)
"""The comparisons of demo.py, in order."""


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Give a copy of the examples, so that what they write goes there."""
    copy = tmp_path / "examples"
    copy.mkdir()
    for pattern in ("*.py", "*.ipynb"):
        for path in EXAMPLES.glob(pattern):
            shutil.copy(path, copy)
    return copy


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "MPLCONFIGDIR": str(cwd / "matplotlib")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def is_comparison(line: str) -> bool:
    """Tell whether demo.py says in `line` how a comparison ended."""
    return line.lower().startswith(("equal", "not equal"))


def is_picture(data: bytes, smallest: tuple[int, int]) -> bool:
    """Tell whether `data` is an image of at least `smallest` (width, height) that is not blank."""
    with Image.open(BytesIO(data)) as image:
        pixels = np.asarray(image.convert("L"))
    return bool((image.size >= np.array(smallest)).all() and pixels.std() > 10)


def test_demo_shows_equal_pixels_and_the_requests_foretold(examples: Path) -> None:
    """demo.py finds equal pixels, 3 requests for 3 tiles of 112, and leaves a picture and what it printed."""
    done = run("demo.py", cwd=examples)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert tuple(line for line in lines if is_comparison(line)) == CHECKED
    assert "3 tiles, 3 requests, 384 KiB for 144.7 KiB of pixels" in lines
    # A tile is 256 * 256 uint16 and a header of 256 bytes; "nuclei" has 4 tiles of half the pixels.
    tile, small = 256 * 256 * 2 + 256, 256 * 256 + 256
    total = 108 * tile + 4 * small
    seen = f"3 requests, {3 * tile:,} bytes: {300 * tile / total:.1f} % of the {total:,} bytes of all tiles"
    assert f"Seen by the server: {seen}" in lines
    assert "3/3" in done.stderr  # the progress
    assert is_picture((examples / "output" / "demo.png").read_bytes(), (1200, 500))
    report = (examples / "output" / "demo.txt").read_text(encoding="utf-8")
    assert done.stdout.startswith(report)
    assert done.stdout.removeprefix(report).splitlines()[1:] == [
        f"The picture is {examples / 'output' / 'demo.png'}",
        f"This text is {examples / 'output' / 'demo.txt'}",
    ]


def test_demo_fails_where_pixels_differ(examples: Path) -> None:
    """demo.py says which comparison failed, and its exit code is 1, where slicedimage reads other pixels."""
    script = "import sys, demo; right = demo.oracle; demo.oracle = lambda files: right(files) + 1"
    done = run("-c", f"{script}; sys.exit(demo.main())", cwd=examples)
    compared = [line for line in done.stdout.splitlines() if is_comparison(line)]
    assert compared == [*CHECKED[:2], "NOT EQUAL: the pixels of slicedfs and of slicedimage"], done.stderr
    assert done.returncode == 1


def test_make_demo_runs_the_demo() -> None:
    """`make demo` runs the file that is tested here."""
    makefile = (EXAMPLES.parent / "Makefile").read_text()
    assert "python examples/demo.py" in makefile.partition("\ndemo:")[2].partition("\n\n")[0]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_hold_no_outputs(name: str) -> None:
    """The notebooks in the repository are stripped: what they show is made where they run."""
    cells = [cell for cell in read_notebook(EXAMPLES / name)["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 8
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)


def test_all_notebooks_run_here() -> None:
    """There is a test for every notebook among the examples, and README.md links to each."""
    assert {path.name for path in EXAMPLES.glob("*.ipynb")} == set(NOTEBOOKS)
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in NOTEBOOKS if f"](examples/{name})" not in readme] == []


def test_explore_runs(examples: Path) -> None:
    """Every cell runs in Jupyter, where a loop is running: sync loads, awaited ones, dask, the plot, equal pixels."""
    shown = execute(examples / "explore.ipynb")
    assert shown.printed == ["foretold: 3 requests, seen by the server: 3", "equal"]
    plan = next(text for text in shown.texts if "requests" in text)
    assert plan.startswith("3 tiles, 3 requests, 384 KiB for 144.7 KiB of pixels\n")
    assert [is_picture(picture, (700, 300)) for picture in shown.pictures] == [True]


def test_mosaic_runs(examples: Path) -> None:
    """The slide is one array of equal pixels; crops across borders, a preview and a stack request their tiles."""
    shown = execute(examples / "mosaic.ipynb")
    assert [line for line in shown.printed if not line.startswith("  ")] == [
        "foretold: 12 requests, seen by the server: 12",
        "{'y': 64, 'x': 64} out of 4 tiles",
        "2 tiles, 2 requests, 256 KiB for 256 KiB of pixels",
        "equal",
        "equal",
    ]
    # 95 to 165 um are 140 pixels of 0.5 um, 100 to 160 um are 120, in 3 rounds, of 2 bytes: 100,800.
    plans = [text.partition("\n")[0] for text in shown.texts if "requests" in text]
    assert plans == [
        "12 tiles, 12 requests, 1.5 MiB for 98.44 KiB of pixels",
        "1 tiles, 1 requests, 128 KiB for 48.24 KiB of pixels",
    ]
    assert "(r: 3, c: 3, z: 3, y: 512, x: 512)" in shown.texts[0]
    assert any("(fov: 4, r: 3, c: 3, z: 3, y: 256, x: 256)" in text for text in shown.texts)
    assert [is_picture(picture, (800, 250)) for picture in shown.pictures] == [True] * 3


def test_rounds_runs(examples: Path) -> None:
    """Loaded, in threads and on a cluster the reductions are equal; each tile is requested once, when it computes."""
    shown = execute(examples / "rounds.ipynb")
    assert [line for line in shown.printed if "tasks" not in line] == [
        "loaded: 108 requests for 108 tiles",
        "built:  0 requests for 0 tiles",
        "read:   108 requests for 108 tiles",
        "equal",
        "read:   108 requests for 108 tiles",
        "equal",
    ]
    # 4 fields of 3 channels and 3 planes in 3 rounds; "auto" holds 128 MiB; 3 rounds of one tile are 384 KiB.
    chunks = [line.split()[:2] for line in shown.printed if "tasks" in line]
    assert chunks == [["{}", "108"], ["auto", "1"], ["suggested", "36"]]
    assert "array([1. , 0.8, 0.6])" in shown.texts
    assert [is_picture(picture, (1000, 300)) for picture in shown.pictures] == [True]


EMPTY: dict[str, Any] = {"outputs": [], "execution_count": None}
EXECUTE = """
import sys

import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
nbformat.write(notebook, sys.argv[1])
"""


class Shown(NamedTuple):
    """What a notebook shows."""

    printed: list[str]
    """Lines on stdout, in order."""
    texts: list[str]
    """Values at the ends of cells, as text."""
    pictures: list[bytes]
    """As PNG."""


def execute(path: Path) -> Shown:
    """Run the notebook at `path` in Jupyter; check that an event loop is running there, in which loads must work."""
    notebook = read_notebook(path)
    probe = "import asyncio\nasyncio.get_running_loop().is_running()"
    notebook["cells"].append({"cell_type": "code", "id": "probe", "metadata": {}, "source": probe} | EMPTY)
    path.write_text(json.dumps(notebook), encoding="utf-8")
    # In a process of its own: the warnings of Jupyter's libraries are no business of these tests.
    done = run("-c", EXECUTE, path.name, cwd=path.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    printed = "".join("".join(output["text"]) for output in outputs if output.get("name") == "stdout")
    *texts, looping = of_kind("text/plain", outputs)
    assert looping == "True"
    return Shown(printed.splitlines(), texts, [b64decode(text) for text in of_kind("image/png", outputs)])


def read_notebook(path: Path) -> dict[str, Any]:
    """Read the notebook at `path`."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def of_kind(kind: str, outputs: list[dict[str, Any]]) -> list[str]:
    """Give the `outputs` that are of `kind` (a MIME type)."""
    return ["".join(output["data"][kind]) for output in outputs if kind in output.get("data", {})]
