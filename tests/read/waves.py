"""A filesystem that answers in waves, so that round trips that wait for each other can be counted.

All requests that are sent without waiting for an answer make one wave. It is answered once the event loop has nothing
left to do: no clock is involved, so a slow machine counts the same.
"""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import fsspec
import numpy as np
import xarray as xr
from numpy.typing import NDArray

import slicedfs
from slicedfs.testing import RecordingFileSystem

__all__ = ["Cost", "TileBench", "Waves"]

_IDLE_TURNS = 60


class _Sea:
    """What all filesystems of one name share."""

    def __init__(self) -> None:
        self.arrived = self.waves = 0
        self.waiting: list[asyncio.Future[None]] = []
        self.tide: asyncio.Task[None] | None = None
        self.held = False
        self.asked = threading.Event()


class Waves(RecordingFileSystem):
    """Files in memory, as of RecordingFileSystem; URLs are ``waves://bucket/key``."""

    protocol = "waves"
    _seas: ClassVar[dict[str, _Sea]] = {}

    @property
    def _sea(self) -> _Sea:
        return self._seas.setdefault(self.name, _Sea())

    @property
    def waves(self) -> int:
        """Return the number of waves since the last :meth:`clear`: the depth of requests that depend on each other."""
        return self._sea.waves

    def hold(self) -> None:
        """Answer nothing until :meth:`release`."""
        self._sea.asked.clear()
        self._sea.held = True

    def await_request(self) -> None:
        """Block until a request has come since the last :meth:`hold`."""
        assert self._sea.asked.wait(30)

    def release(self) -> None:
        """Answer again."""
        self._sea.held = False

    def clear(self) -> None:
        """Forget the waves too."""
        super().clear()
        self._sea.waves = 0

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._seas.pop(self.name, None)

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        sea, loop = self._sea, asyncio.get_running_loop()
        sea.arrived += 1
        if sea.tide is None or sea.tide.done():
            sea.tide = loop.create_task(self._tide(sea))
        turn: asyncio.Future[None] = loop.create_future()
        sea.waiting.append(turn)
        sea.asked.set()
        await turn
        content: bytes = await super()._cat_file(path, start, end, **options)
        return content

    @staticmethod
    async def _tide(sea: _Sea) -> None:
        """Let the requests that wait go once no more come."""
        seen = -1
        while sea.arrived != seen or sea.held:
            if sea.held:
                await asyncio.sleep(0.001)
            seen = sea.arrived
            for _ in range(_IDLE_TURNS):
                await asyncio.sleep(0)
        sea.waves += 1
        waiting, sea.waiting = sea.waiting, []
        sea.tide = None
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)


fsspec.register_implementation("waves", Waves, clobber=True)


class Cost(NamedTuple):
    """What a read took."""

    requests: int
    depth: int
    """The longest chain of requests each of which waited for the one before."""
    n_bytes: int


@dataclass
class TileBench:
    """A tile set with one tile for each r, of files that other libraries wrote."""

    name: str
    files: Sequence[bytes]
    pixels: Sequence[NDArray[Any]]
    """What the files hold, by the libraries that wrote them, each (y, x) or (z, y, x)."""
    extension: str = "tif"
    shape: Mapping[str, int] = field(default_factory=dict)
    """tile_shape to state; empty: none."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    tiles: Mapping[str, Any] = field(default_factory=dict)
    """More to state of every tile."""

    def __post_init__(self) -> None:
        self.fs = Waves(name=self.name)
        for number, content in enumerate(self.files):
            self.put(number, content)
        document: dict[str, Any] = {
            "version": "0.1.0",
            "dimensions": ["r", *("zyx"[-self.pixels[0].ndim :])],
            "shape": {"r": len(self.files)},
            "tiles": [
                {"file": f"t{i}.{self.extension}", "coordinates": {}, "indices": {"r": i}} | dict(self.tiles)
                for i in range(len(self.files))
            ],
            "extras": dict(self.extras),
        }
        if self.shape:
            document["default_tile_shape"] = dict(self.shape)
        self.fs.files["b/set.json"] = json.dumps(document).encode()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fs.reset()

    def put(self, number: int, content: bytes) -> None:
        """Write the file of a tile."""
        self.fs.files[f"b/t{number}.{self.extension}"] = content

    def open(self, **options: Any) -> xr.DataArray:
        """Open the tile set, and forget the requests that this took."""
        image = self.open_counted(**options)
        self.fs.clear()
        return image

    def open_counted(self, **options: Any) -> xr.DataArray:
        """Open the tile set, with the cost of that on record."""
        self.fs.clear()
        return slicedfs.open_dataarray("waves://b/set.json", storage_options={"name": self.name}, **options)

    def cost(self) -> Cost:
        """Give what was asked for since the last :meth:`clear` of the filesystem."""
        return Cost(len(self.fs.log), self.fs.waves, self.fs.bytes_asked)

    def read(self, image: xr.DataArray, r: int, *index: Any) -> Cost:
        """Read a part of tile `r`, compare it with what the file holds, and give what that took."""
        self.fs.clear()
        found = image[(r, *index)].values
        expected = self.pixels[r][index]
        assert found.dtype == image.dtype
        np.testing.assert_array_equal(found, expected)
        return self.cost()
