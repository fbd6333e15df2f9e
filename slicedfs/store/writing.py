"""Writes one file, piece by piece."""

import secrets
from collections.abc import Iterator
from pathlib import Path

from slicedfs.errors import StoreError
from slicedfs.store.access import choose
from slicedfs.store.filesystems import make
from slicedfs.store.options import StoreOptions
from slicedfs.url import is_chained, is_local, key_candidates, redact

__all__ = ["write"]


def write(target: str, pieces: Iterator[bytes | memoryview], options: StoreOptions) -> None:
    """Write the file at `target`, an internal URL; a local one appears whole or not at all. Blocks.

    Raises
    ------
    StoreError
        Its filesystem cannot write.
    OSError
        As the filesystem says.
    """
    if is_local(target) and not is_chained(target):
        _write_local(Path(key_candidates(target)[0]), pieces)
        return
    filesystem = make(target, choose(options, target).given, options, None)
    try:
        with filesystem.open(key_candidates(target)[0], "wb") as file:
            for piece in pieces:
                file.write(piece)
    except NotImplementedError as error:
        where = redact(target)
        raise StoreError(
            f"{where}: its filesystem cannot write. Give another place (out=, --out).", url=where
        ) from error


def _write_local(path: Path, pieces: Iterator[bytes | memoryview]) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
