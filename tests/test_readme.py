"""README.md: every code block runs, in order, and prints what it says; tables and links agree with the code.

The blocks run as they are written. That ``my-bucket`` and ``my-container`` lie on servers of this machine is said by
environment variables, as the libraries know them; only the HTTP server has to be put into the text, by `substitutions`.
"""

import ast
import inspect
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import imagesets
import numpy as np
import pytest
from imagesets import Layout
from servers import AzureServer, GcsServer, HttpServer, S3Server

import slicedfs
from slicedfs.opening import OpenKeywords
from slicedfs.options import ArrayOptions
from slicedfs.store import StoreOptions
from slicedfs.xarray_backend import SlicedfsBackendEntrypoint

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
API_KEY = {"X-Api-Key": "my-key"}
"""The header that the examples send, and without which the HTTP server answers 401."""


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    """Of its first line of text, from 1."""


def read_blocks() -> list[Block]:
    """Give all fenced blocks of README.md, in order."""
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [Block(m[1], m[2], TEXT.count("\n", 0, m.start(2)) + 1) for m in found]


BLOCKS = read_blocks()


def tables(heading: str) -> list[list[str]]:
    """Give the rows of the tables below `heading`, their cells; without the rows of their heads."""
    section = re.split(r"^##+ ", TEXT.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for at, row in enumerate(rows) if set(row[0]) != {"-"} and set(rows[(at + 1) % len(rows)][0]) != {"-"}]


def substitutions(http: HttpServer) -> dict[str, str]:
    """Give what stands in README.md -> what is run in its place; output is compared after the way back."""
    return {
        "https://data.example.org": http.url,
        '["data.example.org"]': f'["127.0.0.1:{http.port}"]',
        '{"https": ': '{"http": ',
    }


@dataclass(slots=True)
class Runner:
    """Runs blocks one after the other, as a reader would."""

    replaced: Mapping[str, str]
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__readme__"})
    """What the Python blocks have defined."""
    output: str | None = None
    """What the last block printed; None where it has been compared."""
    run: list[Block] = field(default_factory=list)
    """Blocks that were executed, and those whose text was compared with an output."""

    def __call__(self, block: Block) -> None:
        """Execute one block; an unknown language is an error."""
        kinds: dict[str, Callable[[Block], None]] = {
            "python": self._python,
            "console": self._console,
            "text": self._text,
        }
        kinds[block.language](block)
        self.run.append(block)

    def _python(self, block: Block) -> None:
        self._expect_nothing_left(block)
        code = block.text
        for written, real in self.replaced.items():
            code = code.replace(written, real)
        stream = StringIO()
        with redirect_stdout(stream):  # the line breaks put README.md's own lines into tracebacks
            exec(compile("\n" * (block.line - 1) + code, README, "exec"), self.names)
        self.output = self._as_written(stream.getvalue()) or None

    def _text(self, block: Block) -> None:
        assert self.output is not None, f"README.md:{block.line}: nothing was printed before"
        assert self.output == block.text, f"README.md:{block.line}"
        self.output = None

    def _console(self, block: Block) -> None:
        self._expect_nothing_left(block)
        assert block.text.startswith("$ "), f"README.md:{block.line}: no command"
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            printed = run_command(shlex.split(command))
            assert not shown or self._as_written(printed) == shown, f"README.md:{block.line}: {command}"

    def _expect_nothing_left(self, block: Block) -> None:
        assert self.output is None, f"README.md, before line {block.line}: printed, but not shown:\n{self.output}"

    def _as_written(self, text: str) -> str:
        for written, real in self.replaced.items():
            text = text.replace(real, written)
        return text


def run_command(words: list[str]) -> str:
    """Run one command of a console block; `make` and `pip`, which change the machine, are checked instead."""
    program, *arguments = words
    if program == "make":
        assert set(arguments) <= make_targets()
        return ""
    if program == "pip":
        check_pip(arguments)
        return ""
    assert program in {"slicedfs", ".venv/bin/python"}, f"README.md has the command {program!r}, which nothing runs"
    module = ["-m", "slicedfs"] if program == "slicedfs" else []
    done = subprocess.run([sys.executable, *module, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout
    return done.stdout


def make_targets() -> set[str]:
    """Give the targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def project() -> dict[str, Any]:
    """Give the table [project] of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def check_pip(arguments: list[str]) -> None:
    """Check that it installs this checkout, with extras that exist."""
    match = re.fullmatch(r"install \.\[([a-z,0-9]+)\]", " ".join(arguments))
    assert match is not None, arguments
    assert set(match[1].split(",")) <= set(project()["optional-dependencies"])


class Servers(NamedTuple):
    """Where the examples read from."""

    web: HttpServer
    """``data.example.org``."""
    s3: S3Server
    gcs: GcsServer
    azure: AzureServer


@pytest.fixture
def servers(
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: S3Server,
    gcs_server: GcsServer,
    azure_server: AzureServer,
    experiment: Path,
) -> Iterator[Servers]:
    """Give servers that hold all that README.md opens there."""
    directory = tmp_path_factory.mktemp("readme")
    with HttpServer(directory, required_headers=API_KEY) as web:
        put_image_sets(directory, web, experiment)
        s3_server.put_tree(directory, "my-bucket", public=True)
        gcs_server.put_tree(experiment.parent, "my-bucket", "experiment")
        azure_server.put_tree(experiment.parent, "my-container", "experiment")
        yield Servers(web, s3_server, gcs_server, azure_server)


@pytest.fixture
def runner(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """Give a Runner, in a directory with the examples, where ``my-bucket`` is on these servers."""
    for name, value in {
        "AWS_ENDPOINT_URL": servers.s3.url,
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": "test-secret",
        "STORAGE_EMULATOR_HOST": servers.gcs.url,
        "AZURE_STORAGE_CONNECTION_STRING": servers.azure.storage_options["connection_string"],
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    forget_filesystems()  # made with other variables
    yield Runner(substitutions(servers.web))
    forget_filesystems()


def put_image_sets(directory: Path, web: HttpServer, small: Path) -> None:
    """Write what README.md opens; `small` is an experiment for where only documents are looked at."""
    make = [sys.executable, str(EXAMPLES / "make_experiment.py"), str(directory / "experiment")]
    subprocess.run(make, check=True, capture_output=True)
    shutil.make_archive(str(directory / "experiment"), "zip", small.parent)
    imagesets.write_tile_set(directory, Layout(missing=frozenset({(1, 2, 0), (1, 2, 1)})), name="sparse")
    imagesets.write_tile_set(directory, Layout(grid=(2, 2)), name="mosaic")
    (directory / "split").mkdir()
    split = imagesets.write_tile_set(directory / "split", Layout())
    imagesets.split_tiles(split, directory / "tiles", f"{web.url}/tiles")
    hostile = {"version": "0.1.0", "contents": {"fov_000": "file:///etc/passwd"}}
    (directory / "hostile.json").write_text(json.dumps(hostile))


def forget_filesystems() -> None:
    """Empty the caches in which fsspec keeps filesystems."""
    from adlfs import AzureBlobFileSystem  # type: ignore[import-untyped]
    from gcsfs import GCSFileSystem
    from s3fs import S3FileSystem

    for kind in (S3FileSystem, GCSFileSystem, AzureBlobFileSystem):
        kind.clear_instance_cache()


def test_every_block_runs_and_prints_what_it_says(runner: Runner, servers: Servers) -> None:
    """All blocks run in order, none is left out, and they really read from the servers that they name."""
    for block in BLOCKS:
        runner(block)
    assert runner.output is None, f"printed at the end, but not shown:\n{runner.output}"
    assert runner.run == BLOCKS
    for server in servers:
        assert [r for r in server.requests if r.method == "GET" and r.status in {200, 206}], type(server).__name__
    check_pixels(runner.names)


def check_pixels(names: Mapping[str, Any]) -> None:
    """Compare what the blocks read with the picture that the experiment was cut out of."""
    slide = runpy.run_path(str(EXAMPLES / "make_experiment.py"))["micrograph"]()
    field = slide[:, :, :, 256:, 256:]
    # Pixels are 0.5 um wide and the field starts at 128 um: 130 to 195 um are pixels 4 to 133, 155 to 250 um 54 to 243.
    np.testing.assert_array_equal(names["crop"].values, field[:, 2, 1, 54:244, 4:134])
    # (140.2 - 128) / 0.5 = 24.4, (160.1 - 128) / 0.5 = 64.2, and so on: pixel 24 holds 140.0 to 140.5.
    np.testing.assert_array_equal(names["spots"].values, [field[0, 2, 1, 64, 24], field[2, 2, 1, 224, 105]])
    np.testing.assert_array_equal(names["array"].values, slide[:, :, :, :256, 256:])
    # 95 to 165 um are pixels 190 to 329, 100 to 160 um are 200 to 319; fov_000 is above fov_002.
    np.testing.assert_array_equal(names["corner"].values, slide[0, 2, 1, 200:320, 190:330])
    np.testing.assert_array_equal(names["pair"].values, [slide[0, 2, 1, :256, :256], slide[0, 2, 1, 256:, :256]])
    planes = field[0, 2].max(axis=(1, 2)).tolist()
    assert str(planes) + "\n" in {block.text for block in BLOCKS}
    means = field.max(axis=2).mean(axis=(2, 3))[:, 2].round(1)
    assert str(means) + "\n" in {block.text for block in BLOCKS}


def test_fences_pair_up() -> None:
    """No fence escapes the search for blocks, and there are blocks of every kind."""
    assert len(re.findall(r"^\s*(?:```|~~~)", TEXT, re.MULTILINE)) == 2 * len(BLOCKS)
    assert {block.language for block in BLOCKS} == {"python", "console", "text"}
    assert len(BLOCKS) > 20


def test_quickstart_is_short() -> None:
    """The quickstart has at most ten lines."""
    quickstart = TEXT.partition("## Quickstart\n")[2]
    first = next(block for block in BLOCKS if block.language == "python")
    assert first.text in quickstart
    assert len([line for line in first.text.splitlines() if line]) <= 10


def test_options_are_those_of_the_engine() -> None:
    """The table of options has every option of the engine, no other, and its defaults."""
    rows = {row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in tables("Options")}
    others = {"group", "level", "stack", "mosaic", "select", "depth"}
    assert rows.keys() == OpenKeywords.__annotations__.keys() | others
    assert others <= parameters(SlicedfsBackendEntrypoint.open_dataset, SlicedfsBackendEntrypoint.open_datatree)
    assert {"group", "level", "stack", "mosaic"} <= parameters(slicedfs.open_dataarray)
    defaults = {option.name: option.default for kind in (ArrayOptions, StoreOptions) for option in fields(kind)}
    given = {name: value for name, value in rows.items() if isinstance(defaults.get(name), str | int)}
    assert given == {name: defaults[name] for name in given}
    texts = {"pixel_coords", "on_missing", "verify"}
    numbers = {"max_tile_bytes", "bytes_in_flight", "gap_bytes", "memory_cache_bytes", "tile_cache_bytes"}
    assert given.keys() == texts | numbers
    assert (rows["level"], rows["mosaic"]) == (0, False)
    assert all(rows[name] is None for name in rows.keys() - given.keys() - {"level", "mosaic"})


def parameters(*functions: Callable[..., Any]) -> set[str]:
    """Give the names of the parameters of all `functions` together."""
    return {name for function in functions for name in inspect.signature(function).parameters}


@pytest.mark.parametrize("row", tables("Open")[:3], ids=lambda row: row[0].split()[0])
def test_credentials_are_options_of_the_filesystems(row: list[str]) -> None:
    """What the table of credentials passes is known to s3fs, gcsfs and adlfs."""
    from adlfs import AzureBlobFileSystem
    from aiobotocore.session import AioSession  # type: ignore[import-untyped]
    from gcsfs import GCSFileSystem
    from s3fs import S3FileSystem

    kinds = {"S3": S3FileSystem, "Google": GCSFileSystem, "Azure": AzureBlobFileSystem}
    kind = kinds[row[0].split()[0]]
    bases = [base for base in kind.__mro__ if base is not object]
    known = {name for base in bases for name in inspect.signature(base.__init__).parameters}
    known |= set(inspect.signature(AioSession.__init__).parameters) if kind is S3FileSystem else set()  # its kwargs
    given = [ast.literal_eval(text) for cell in row[1:] for text in re.findall(r"`(\{.*?\})`", cell)]
    assert len(given) >= 2
    assert {name for options in given for name in options} <= known


def test_extras_are_those_of_the_project() -> None:
    """The table of extras has every extra of pyproject.toml."""
    names = {name for row in tables("Install") for name in re.findall(r"`(\w+)`", row[0])}
    assert names == set(project()["optional-dependencies"])


def test_errors_are_what_the_table_says() -> None:
    """Every error in the table of refusals exists, and also is the builtin that stands in parentheses."""
    import builtins

    found = re.findall(
        r"`(\w+)` \((`\w+`(?:, `\w+`)*)\)", " ".join(row[1] for row in tables("What it refuses, and why"))
    )
    assert len(found) == 8
    for name, parents in found:
        for parent in re.findall(r"\w+", parents):
            assert issubclass(getattr(slicedfs, name), getattr(builtins, parent)), name


def test_links_lead_to_files() -> None:
    """Every link that is no URL leads to a file of the repository, and so does every module in the map."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in link]
    assert len(links) >= 4
    modules = [name for row in tables("Map of the code") for name in re.findall(r"`([\w/.]+)`", row[1])]
    assert len(modules) >= 15
    missing = [path for path in [*links, *(f"slicedfs/{name}" for name in modules)] if not (ROOT / path).exists()]
    assert missing == []
