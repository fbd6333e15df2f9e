"""A directory of whole objects that were read before: bounded, shared by processes, verified on every hit."""

import hashlib
import os
import secrets
import warnings
from collections.abc import Iterator
from pathlib import Path

from slicedfs.errors import SlicedfsWarning

__all__ = ["DEFAULT_CACHE_BYTES", "Cache"]

DEFAULT_CACHE_BYTES = 10 << 30
"""How large a cache may grow where the user gives no number."""
_DIGEST = 32
_SLACK = 0.9
"""A cache that is too large is cut to this part of its bound, so that not every write has to look."""


class Cache:
    """Objects by key, each in a file of its own: the sha256 of its bytes, then the bytes.

    Files are written beside and renamed, so a reader in another process sees a whole object or none, and a process
    that is killed leaves nothing under a final name. A file that fails its sha256 is removed and counts as absent.
    A read never fails because the cache does: the first error of the disk warns, and the cache stays silent after.

    Parameters
    ----------
    directory
        Made if it does not exist.
    max_bytes
        The files used longest ago are removed when all together exceed this.
    """

    def __init__(self, directory: str, max_bytes: int) -> None:
        self.directory, self.max_bytes = Path(directory).expanduser().absolute(), max_bytes
        self._unseen = max_bytes  # written since the directory was last looked through; at first: look at once
        self._broken = False

    @staticmethod
    def key(*parts: str) -> str:
        """Return the key that stands for `parts`, in this order."""
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, key: str) -> bytes | None:
        """Return the object, or None where there is none that is whole; blocks."""
        path = self._path(key)
        try:
            stored = path.read_bytes()
            data = stored[_DIGEST:]
            if hashlib.sha256(data).digest() != stored[:_DIGEST]:
                path.unlink(missing_ok=True)
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up(error)
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Keep an object; blocks."""
        if self._broken or len(data) + _DIGEST > self.max_bytes:
            return
        path = self._path(key)
        beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                beside.write_bytes(hashlib.sha256(data).digest() + data)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
            self._unseen += len(data) + _DIGEST
            if self._unseen > self.max_bytes * (1 - _SLACK):
                self._shrink()
        except OSError as error:
            self._give_up(error)

    def size(self) -> tuple[int, int]:
        """Return (number of objects, bytes) on disk; blocks."""
        sizes = [size for _, size, _ in self._files()]
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Remove all objects; blocks."""
        for _, _, path in list(self._files()):
            path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.directory / key[:2] / key[2:]

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield (time of last use, bytes, path) of every file, leftovers of killed processes included."""
        for folder in self.directory.glob("[0-9a-f][0-9a-f]"):
            for entry in os.scandir(folder):
                try:
                    told = entry.stat()
                except FileNotFoundError:  # another process was faster
                    continue
                yield told.st_mtime, told.st_size, Path(entry.path)

    def _shrink(self) -> None:
        """Remove what was used longest ago, until there is room again."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        self._unseen = 0
        if total > self.max_bytes:
            for _, size, path in files:
                path.unlink(missing_ok=True)
                total -= size
                if total <= self.max_bytes * _SLACK:
                    break

    def _give_up(self, error: OSError) -> None:
        if not self._broken:
            self._broken = True
            warnings.warn(f"tile_cache {self.directory} is not used any more: {error}", SlicedfsWarning, stacklevel=3)
