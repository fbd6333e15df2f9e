"""An fsspec filesystem in memory that records what is asked of it, and can be slow, short or broken."""

import asyncio
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from fsspec.asyn import AsyncFileSystem

__all__ = ["Access", "RecordingFileSystem", "register"]


class Access(NamedTuple):
    """One request."""

    path: str
    """``bucket/key``, without protocol."""
    start: int | None
    """First byte asked for; None: the whole object."""
    end: int | None
    """One past the last byte asked for; None: to the end."""


class _World:
    """What all filesystems of one name share."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.log: list[Access] = []
        self.faults: dict[str, list[BaseException | int | None]] = {}
        self.delay_s = 0.0
        self.in_flight = 0
        self.max_in_flight = 0


class RecordingFileSystem(AsyncFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files in memory, by name: every instance of one `name` in the process sees the same files and log.

    URLs are ``recording://bucket/key``. Pass ``storage_options={"name": ...}`` to keep tests apart. Instances
    pickle by name; the files do not travel to another process.

    Parameters
    ----------
    name
        Which files and which log.

    Examples
    --------
    >>> import slicedfs.testing
    >>> fs = slicedfs.testing.RecordingFileSystem(name="doc")
    >>> fs.files["b/t.bin"] = b"0123456789"
    >>> fs.cat_file("b/t.bin", start=2, end=5)
    b'234'
    >>> fs.log
    [Access(path='b/t.bin', start=2, end=5)]
    >>> fs.reset()
    """

    protocol = "recording"
    cachable = True
    _worlds: ClassVar[dict[str, _World]] = {}

    def __init__(self, name: str = "default", **options: Any) -> None:
        super().__init__(**options)
        self.name = name

    @property
    def _world(self) -> _World:
        return self._worlds.setdefault(self.name, _World())

    @property
    def files(self) -> dict[str, bytes]:
        """``bucket/key`` -> content; change it as you like."""
        return self._world.files

    @property
    def log(self) -> list[Access]:
        """Return every request since the last :meth:`clear`, in the order in which they began."""
        return self._world.log

    @property
    def paths(self) -> list[str]:
        """Return the paths asked for, in order."""
        return [access.path for access in self.log]

    @property
    def bytes_asked(self) -> int:
        """Return the sum of the bytes of all recorded requests that exist."""
        return sum(len(self.files.get(a.path, b"")[a.start : a.end]) for a in self.log)

    @property
    def delay_s(self) -> float:
        """Seconds that every request takes."""
        return self._world.delay_s

    @delay_s.setter
    def delay_s(self, seconds: float) -> None:
        self._world.delay_s = seconds

    @property
    def in_flight(self) -> int:
        """Return how many requests are under way."""
        return self._world.in_flight

    @property
    def max_in_flight(self) -> int:
        """Return how many requests were under way at one time, at most, since the last :meth:`clear`."""
        return self._world.max_in_flight

    def fail(self, path: str, *faults: BaseException | int | None) -> None:
        """Let the next requests of `path` fail, one fault a request.

        An exception is raised, a number cuts the reply to that many bytes, None is a good reply.
        """
        self._world.faults.setdefault(path, []).extend(faults)

    def clear(self) -> None:
        """Forget log, faults and counts; the files stay."""
        self._world.log.clear()
        self._world.faults.clear()
        self._world.max_in_flight = self._world.in_flight

    def reset(self) -> None:
        """Forget everything, files included."""
        self._worlds.pop(self.name, None)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        path, world = self._strip_protocol(path), self._world
        world.log.append(Access(path, start, end))
        world.in_flight += 1
        world.max_in_flight = max(world.max_in_flight, world.in_flight)
        try:
            await asyncio.sleep(world.delay_s)
            length = self._fault(world, path)
            return self._content(path)[start:end][:length]
        finally:
            world.in_flight -= 1

    def _content(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def _fault(self, world: _World, path: str) -> int | None:
        """Return the length to cut the reply to; raise what was ordered."""
        faults = world.faults.get(path)
        fault = faults.pop(0) if faults else None
        if isinstance(fault, BaseException):
            raise fault
        return fault

    async def _get_file(self, rpath: str, lpath: str, **_: Any) -> None:
        content = await self._cat_file(rpath)
        await asyncio.to_thread(Path(lpath).write_bytes, content)

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if path in self.files:
            return {"name": path, "size": len(self.files[path]), "type": "file"}
        if any(name.startswith(f"{path}/") for name in self.files) or not path:
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    async def _ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:  # noqa: FBT001, FBT002 - fsspec's
        path = self._strip_protocol(path).rstrip("/")
        prefix = f"{path}/" if path else ""
        names = {prefix + name[len(prefix) :].partition("/")[0] for name in self.files if name.startswith(prefix)}
        if not names:
            raise FileNotFoundError(path)
        found = [await self._info(name) for name in sorted(names)]
        return found if detail else [info["name"] for info in found]

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        path = self._strip_protocol(path)
        if mode == "create" and path in self.files:
            raise FileExistsError(path)
        self.files[path] = bytes(value)

    async def _rm_file(self, path: str, **_: Any) -> None:
        del self.files[self._strip_protocol(path)]

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        self.files[self._strip_protocol(path2)] = self.files[self._strip_protocol(path1)]

    async def _mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:  # noqa: FBT001, FBT002
        """Do nothing: there are no directories, only keys."""

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        """Do nothing: there are no directories, only keys."""


def register() -> None:
    """Let fsspec find the filesystem as ``recording://``; done on import of :mod:`slicedfs.testing`."""
    import fsspec

    fsspec.register_implementation("recording", RecordingFileSystem, clobber=True)
