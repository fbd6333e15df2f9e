"""The command line: what it prints, as text and as JSON, its exit codes, and errors of one line."""

import json
import re
import subprocess
import sys

import pytest
from smallsets import Bench, npy, plane, tile, tile_set

import slicedfs
from slicedfs.cli import main

VERSION = slicedfs.__version__


@pytest.fixture
def directory(tmp_path):
    """Give a directory with root.json: the tile set "one", and "group" with the tile sets "two" and "three"."""
    ranges = [{"x": [3 * i, 3 * i + 3], "y": [0, 2]} for i in (0, 1)]
    mosaic = tile_set([tile("t0.npy", ranges[0], r=0), tile("t1.npy", ranges[1], r=0)], {"r": 1}, extras={"k": "v"})
    documents = {
        "root": {"version": "0.1.0", "contents": {"one": "one.json", "group": "group.json"}, "extras": {"by": "hand"}},
        "group": {"version": "0.0.0", "contents": {"two": "one.json", "three": "one.json"}},
        "one": mosaic,
    }
    for name, document in documents.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    for number in (0, 1):
        (tmp_path / f"t{number}.npy").write_bytes(npy(plane(number)))
    return tmp_path


@pytest.fixture
def run(capsys):
    """Give ``run(*arguments)``, which gives exit code, stdout and stderr."""

    def call(*arguments):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_info_of_a_collection(directory, run):
    """Info tells what a collection is and holds."""
    code, out, err = run("info", directory / "root.json")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"url          {(directory / 'root.json').as_uri()}",
        "version      0.1.0",
        "kind         collection",
        "members      ['one', 'group']",
        "extras       {'by': 'hand'}",
    ]


def test_info_of_a_tile_set(directory, run):
    """Info tells the array that a tile set is."""
    code, out, err = run("info", directory / "one.json", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "url": (directory / "one.json").as_uri(),
        "version": "0.1.0",
        "kind": "tile set",
        "dims": {"r": 1, "y": 2, "x": 6},
        "dtype": "uint16",
        "bytes": 24,
        "tiles": 2,
        "coordinates": ["r", "y", "x"],
        "extras": {"k": "v"},
    }


def test_info_of_a_member(directory, run):
    """A member is named by --group."""
    code, out, _ = run("info", directory / "root.json", "--group", "group/three", "--json")
    assert (code, json.loads(out)["url"]) == (0, (directory / "one.json").as_uri())


def test_ls(directory, run):
    """Ls lists everything below, as path and URL."""
    code, out, err = run("ls", directory / "root.json")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["one", (directory / "one.json").as_uri()],
        ["group", (directory / "group.json").as_uri()],
        ["group/two", (directory / "one.json").as_uri()],
        ["group/three", (directory / "one.json").as_uri()],
    ]


@pytest.mark.parametrize(
    ("arguments", "paths"),
    [
        (["--depth", "1"], ["one", "group"]),
        (["--select", "g*/th*"], ["group", "group/three"]),
        (["--select", "nothing"], []),
        ([], ["one", "group", "group/two", "group/three"]),
    ],
    ids=str,
)
def test_ls_part(directory, run, arguments, paths):
    """Depth and pattern leave members out, in JSON too."""
    code, out, _ = run("ls", directory / "root.json", "--json", *arguments)
    assert (code, [entry["path"] for entry in json.loads(out)]) == (0, paths)
    assert all(set(entry) == {"path", "url"} for entry in json.loads(out))


def test_explain(directory, run):
    """Explain prints the table of requests."""
    code, out, err = run("explain", directory / "one.json", "--isel", "x=1:3", "--isel", "r=0", "--sel", "y=1.4")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "1 tiles, 1 requests, 12 B for 4 B of pixels",
        f"  r=0                  y 1:2, x 1:3                 {(directory / 't0.npy').as_uri()}",
    ]


@pytest.mark.parametrize(
    ("arguments", "tiles", "size"),
    [
        ([], ["t0", "t1"], 24),
        (["--sel", "x=2:4"], ["t0", "t1"], 8),
        (["--isel", "x=::-5"], ["t0", "t1"], 8),
        (["--isel", "x=-1"], ["t1"], 4),
        (["--isel", "x=5:5"], [], 0),
    ],
    ids=str,
)
def test_explain_selections(directory, run, arguments, tiles, size):
    """Selections are single values or ranges; --sel takes the nearest label."""
    code, out, _ = run("explain", directory / "root.json", "--group", "one", "--json", *arguments)
    plan = json.loads(out)
    assert (code, plan["tiles"], plan["requests"], plan["selected_bytes"]) == (0, len(tiles), len(tiles), size)
    assert [entry["url"] for entry in plan["planned"]] == [(directory / f"{name}.npy").as_uri() for name in tiles]


def test_version(run):
    """Version prints the version."""
    assert run("version") == (0, f"{VERSION}\n", "")
    assert run("version", "--json") == (0, f'{{"version": "{VERSION}"}}\n', "")


def test_options(run, request):
    """-o gives the filesystem its options, JSON values and plain texts."""
    with Bench(request.node.nodeid) as bench:
        bench.put_set([tile("a.npy")], {})
        url, name = bench.url(), f"name={request.node.nodeid}"
        assert run("info", url)[0] == 1
        assert run("info", url, "-o", name)[0] == 0
        assert run("info", url, "--option", name, "-o", "skip_instance_cache=true", "-o", 'more={"a": 1}')[0] == 0


PROBLEMS = {
    "absent": (["info", "{}/none.json"], r"^slicedfs: file://\S+/none\.json: there is no such file \(1 try\)\.$"),
    "a directory": (["ls", "{}"], r"^slicedfs: file://\S+: could not be read: it is a directory"),
    "no document": (["info", "{}/t0.npy"], r"^slicedfs: file://\S+/t0\.npy is a NumPy array, not a JSON document\. "),
    "no member": (
        ["info", "{}/root.json", "--group", "four"],
        r"^slicedfs: file://\S+/root\.json has no member 'four'; it has 'one', 'group'$",
    ),
    "no tile set": (
        ["explain", "{}/root.json"],
        r"^slicedfs: file://\S+/root\.json is a collection; name one of its tile sets by --group: one, group$",
    ),
    "no dim": (["explain", "{}/one.json", "--isel", "q=1"], r"^slicedfs: Dimensions \{'q'\} do not exist\. "),
    "out of bounds": (["explain", "{}/one.json", "--isel", "x=6"], r"^slicedfs: index 6 is out of bounds for axis "),
    "no protocol": (["info", "nothing://x/y.json"], r"^slicedfs: nothing://x/y\.json: "),
}


@pytest.mark.parametrize(("arguments", "message"), PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("as_json", [False, True])
def test_problems(directory, run, arguments, message, as_json):
    """What cannot be done is exit code 1 and one line on stderr."""
    arguments = [argument.format(directory) for argument in arguments] + ["--json"] * as_json
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert re.search(message, err.removesuffix("\n")), err
    assert err.count("\n") == 1


MISUSES = {
    "no command": ([], r"^slicedfs: the following arguments are required: COMMAND; see slicedfs --help$"),
    "unknown command": (["frobnicate"], r"^slicedfs: argument COMMAND: invalid choice: 'frobnicate' "),
    "no URL": (["info"], r"^slicedfs info: the following arguments are required: url; see slicedfs info --help$"),
    "unknown flag": (["ls", "x", "--all"], r"^slicedfs: unrecognized arguments: --all; see slicedfs --help$"),
    "no number": (["ls", "x", "--depth", "deep"], r"^slicedfs ls: argument --depth: invalid int value: 'deep'; "),
    "bare option": (
        ["info", "x", "-o", "anon"],
        r"^slicedfs info: argument -o/--option: needs NAME=VALUE, got 'anon'; ",
    ),
    "no value": (["explain", "x", "--isel", "x="], r"^slicedfs explain: argument --isel: needs NAME=VALUE, got 'x='; "),
    "no integer": (
        ["explain", "x", "--isel", "x=1.5"],
        r"^slicedfs explain: argument --isel: needs DIM=VALUE or DIM=START:STOP\[:STEP\] in integers, got 'x=1\.5'; ",
    ),
    "too many colons": (["explain", "x", "--sel", "x=1:2:3:4"], r"argument --sel: needs DIM=VALUE .* in numbers, got"),
}


@pytest.mark.parametrize(("arguments", "message"), MISUSES.values(), ids=MISUSES)
def test_misuse(run, arguments, message):
    """Wrong usage is exit code 2 and one line on stderr that leads to the help."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert re.search(message, err.removesuffix("\n")), err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--help"], ["explain", "-h"]], ids=str)
def test_help(run, arguments):
    """Help goes to stdout, with exit code 0."""
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("usage: slicedfs")


def test_program(directory):
    """``python -m slicedfs`` is the same program, and stops quietly when nobody reads on."""
    command = [sys.executable, "-m", "slicedfs"]
    done = subprocess.run([*command, "version"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{VERSION}\n", "")
    done = subprocess.run([*command, "info", "none.json"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    members = {f"n{i:05}": "one.json" for i in range(5000)}
    (directory / "many.json").write_text(json.dumps({"version": "0.1.0", "contents": members}))
    with subprocess.Popen(
        [*command, "info", directory / "many.json", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as early:
        early.stdout.close()
        assert b"Traceback" not in early.stderr.read()
    assert early.returncode != 0
