"""The command line: one function a command, no logic beyond showing what the library says.

Exit codes: 0 ok, 1 the command could not do its work (one line on stderr says why), 2 wrong usage.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import xarray as xr

    from slicedfs.node import Node

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` is without the program's name, None: the process's own.

    Returns
    -------
    int
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.command
    try:
        command(arguments)
    except BrokenPipeError:
        sys.stderr.close()  # the reader has seen enough; python would complain when it flushes at exit
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except _expected() as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"slicedfs: {' '.join(str(text).split())}", file=sys.stderr)
        return 1
    return 0


def _expected() -> tuple[type[Exception], ...]:
    """Return what users can cause, and see as one line."""
    from slicedfs.errors import SlicedfsError

    return (SlicedfsError, OSError, ValueError, KeyError, TypeError, ImportError, IndexError, MemoryError)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="slicedfs", description="Tiled image sets in buckets as lazy arrays.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    info = _command(commands, "info", _info, "say what a document is")
    info.add_argument("--group", help="path of a member, as primary/fov_001")
    ls = _command(commands, "ls", _ls, "list the members of a collection or experiment")
    ls.add_argument("--depth", type=int, help="levels to read (default: all)")
    ls.add_argument("--select", help="glob pattern on paths, as 'primary/fov_0*'")
    explain = _command(commands, "explain", _explain, "tell what a selection would request")
    explain.add_argument("--group", help="path of a member, as primary/fov_001")
    for kind, number in (("isel", int), ("sel", float)):
        help_ = f"what to select as {kind}: DIM=VALUE or DIM=START:STOP; may be repeated"
        read = partial(_range, number)
        explain.add_argument(f"--{kind}", type=read, action="append", default=[], metavar="DIM=…", help=help_)
    index = _command(
        commands, "index", _index, "write the packed index of a tile set, which opens without a JSON parser"
    )
    index.add_argument("--out", help="where to write it (default: beside the document)")
    cache = commands.add_parser("cache", help="look into a tile_cache directory, or empty it")
    cache.add_argument("what", choices=["info", "clear"])
    cache.add_argument("directory", help="what tile_cache= was given")
    cache.add_argument("--json", action="store_true", help="print JSON")
    cache.set_defaults(command=_cache)
    version = commands.add_parser("version", help="print the version")
    version.add_argument("--json", action="store_true", help="print JSON")
    version.set_defaults(command=_version)
    return parser


def _command(commands: Any, name: str, function: Callable[..., None], help_: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_, description=help_)
    parser.add_argument("url", help="path or URL of a document")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "-o",
        "--option",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="filesystem option, as anon=true or endpoint_url=http://…; may be repeated",
    )
    parser.set_defaults(command=function)
    return parser


def _info(arguments: argparse.Namespace) -> None:
    node = _node(arguments)
    told = _told(node)
    if arguments.json:
        print(json.dumps(told, default=str))
    else:
        for key, value in told.items():
            print(f"{key:<12} {value}")


def _told(node: "Node") -> dict[str, Any]:
    from slicedfs.node import Collection

    told: dict[str, Any] = {"url": node.url, "version": node.version}
    if isinstance(node, Collection):
        return {**told, "kind": node.kind, "members": list(node), "extras": node.extras}
    array = node.to_dataarray()
    return {
        **told,
        "kind": "tile set",
        "dims": dict(array.sizes),
        "dtype": str(array.dtype),
        "bytes": array.nbytes,
        "tiles": len(node.tiles),
        "coordinates": [str(name) for name in array.coords],
        "extras": node.extras,
    }


def _ls(arguments: argparse.Namespace) -> None:
    from slicedfs.node import walk
    from slicedfs.store import run

    async def below() -> "list[Node]":
        return await walk(root, select=arguments.select, depth=arguments.depth)

    root = _node(arguments)
    nodes = run(below)[1:]
    if arguments.json:
        print(json.dumps([{"path": node.path, "url": node.url} for node in nodes]))
    else:
        for node in nodes:
            print(f"{node.path:<32} {node.url}")


def _explain(arguments: argparse.Namespace) -> None:
    from dataclasses import asdict

    from slicedfs.node import TileSet
    from slicedfs.show.plan import explain

    node = _node(arguments)
    if not isinstance(node, TileSet):
        raise TypeError(f"{node.url} is {node.document.noun}; name one of its tile sets by --group: {', '.join(node)}")
    plan = explain(_selected(node.to_dataarray(), arguments))
    print(json.dumps(asdict(plan)) if arguments.json else plan)


def _index(arguments: argparse.Namespace) -> None:
    from slicedfs.indexing import index

    url = index(arguments.url, arguments.out, storage_options=_options(arguments))
    print(json.dumps({"url": url}) if arguments.json else url)


def _selected(array: "xr.DataArray", arguments: argparse.Namespace) -> "xr.DataArray":
    array = array.isel(dict(arguments.isel))
    for name, wanted in arguments.sel:
        array = array.sel({name: wanted}) if isinstance(wanted, slice) else array.sel({name: wanted}, method="nearest")
    return array


def _range(number: Callable[[str], Any], text: str) -> tuple[str, Any]:
    """Read DIM=VALUE or DIM=START:STOP[:STEP]."""
    name, value = _pair(text)
    try:
        parts = [number(part) if part else None for part in value.split(":")]
        return name, slice(*parts) if len(parts) > 1 else parts[0]
    except (ValueError, TypeError):
        kind = "integers" if number is int else "numbers"
        raise argparse.ArgumentTypeError(f"needs DIM=VALUE or DIM=START:STOP[:STEP] in {kind}, got {text!r}") from None


def _pair(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, _, value = text.partition("=")
    if not (name and value):
        raise argparse.ArgumentTypeError(f"needs NAME=VALUE, got {text!r}")
    return name, value


def _node(arguments: argparse.Namespace) -> "Node":
    from slicedfs.node import find
    from slicedfs.opening import open as open_node
    from slicedfs.store import run

    root = open_node(arguments.url, storage_options=_options(arguments))
    group = getattr(arguments, "group", None)
    return run(find, root, group) if group else root


def _options(arguments: argparse.Namespace) -> dict[str, Any] | None:
    return {name: _value(text) for name, text in arguments.option} or None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _cache(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from slicedfs.store.cache import DEFAULT_CACHE_BYTES, Cache

    if not Path(arguments.directory).is_dir():
        raise ValueError(f"there is no directory {arguments.directory!r}")
    cache = Cache(arguments.directory, DEFAULT_CACHE_BYTES)
    if arguments.what == "clear":
        cache.clear()
    objects, size = cache.size()
    told = {"directory": str(cache.directory), "objects": objects, "bytes": size}
    print(json.dumps(told) if arguments.json else "\n".join(f"{key:<12} {value}" for key, value in told.items()))


def _version(arguments: argparse.Namespace) -> None:
    from slicedfs import __version__

    print(json.dumps({"version": __version__}) if arguments.json else __version__)
