"""The examples run as they are, on servers of their own, and the files that they leave are as they should be."""

import json
import os
import shutil
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"
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


def test_notebook_holds_no_outputs() -> None:
    """The notebook in the repository is stripped: what it shows is made where it runs."""
    cells = [cell for cell in read_notebook(EXAMPLES)["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 8
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells] == [([], None)] * len(cells)


def test_notebook_runs(examples: Path) -> None:
    """Every cell runs in Jupyter, where a loop is running: sync loads, awaited ones, dask, the plot, equal pixels."""
    notebook = read_notebook(examples)
    probe = "import asyncio\nasyncio.get_running_loop().is_running()"
    notebook["cells"].append({"cell_type": "code", "id": "probe", "metadata": {}, "source": probe} | EMPTY)
    (examples / "explore.ipynb").write_text(json.dumps(notebook))
    # In a process of its own: the warnings of Jupyter's libraries are no business of these tests.
    done = run("-c", EXECUTE, cwd=examples)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [cell["outputs"] for cell in read_notebook(examples)["cells"] if cell["cell_type"] == "code"]
    printed = "".join("".join(o["text"]) for cell in outputs for o in cell if o["output_type"] == "stream")
    assert printed.splitlines() == ["foretold: 3 requests, seen by the server: 3", "equal"]
    assert shown(outputs, "text/plain")[-1] == "True"
    plan = next(text for text in shown(outputs, "text/plain") if "requests" in text)
    assert plan.startswith("3 tiles, 3 requests, 384 KiB for 144.7 KiB of pixels\n")
    pictures = [b64decode(text) for text in shown(outputs, "image/png")]
    assert [is_picture(picture, (700, 300)) for picture in pictures] == [True]


EMPTY: dict[str, Any] = {"outputs": [], "execution_count": None}
EXECUTE = """
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read("explore.ipynb", as_version=4)
NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
nbformat.write(notebook, "explore.ipynb")
"""


def read_notebook(directory: Path) -> dict[str, Any]:
    """Read explore.ipynb in `directory`."""
    notebook: dict[str, Any] = json.loads((directory / "explore.ipynb").read_text(encoding="utf-8"))
    return notebook


def shown(outputs: list[list[dict[str, Any]]], kind: str) -> list[str]:
    """Give what all cells show as `kind` (a MIME type)."""
    return ["".join(o["data"][kind]) for cell in outputs for o in cell if kind in o.get("data", {})]
