"""What the usual HTTP clients cost by themselves: whole NPY tiles, a semaphore, numpy.frombuffer, no more."""

import asyncio

import numpy as np

from benchmarks.suite.data import NPY_HEADER, stem
from benchmarks.suite.pixels import TILE, ImageSet
from benchmarks.suite.workloads import Read, touched

__all__ = ["Aiohttp", "Obstore", "S3fs"]


class _Bare:
    """Fetches tiles by `_fetch`, in a loop of its own."""

    def __init__(self, concurrency: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._concurrency = concurrency

    async def _fetch(self, path: str) -> object:
        raise NotImplementedError

    def read(self, read: Read) -> np.ndarray:
        """Read with one request a tile."""
        return self._loop.run_until_complete(self._read(read))

    async def _read(self, read: Read) -> np.ndarray:
        out = np.empty(read.shape, np.uint16)
        waiting = iter(touched(read))

        async def work() -> None:
            for part in waiting:
                body = await self._fetch(f"npy/{stem(part.place)}.npy")
                whole = np.frombuffer(body, np.uint16, offset=NPY_HEADER).reshape(TILE, TILE)
                out[part.dst] = whole[part.src]

        await asyncio.gather(*(work() for _ in range(self._concurrency)))
        return out


class Aiohttp(_Bare):
    """aiohttp."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int) -> None:  # noqa: ARG002 - as all
        super().__init__(concurrency)
        self._base = base
        self._session = self._loop.run_until_complete(self._start())

    async def _start(self) -> object:
        import aiohttp

        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self._concurrency))

    async def _fetch(self, path: str) -> bytes:
        async with self._session.get(f"{self._base}/{path}") as reply:
            return await reply.read()


class Obstore(_Bare):
    """obstore."""

    def __init__(self, base: str, images: ImageSet, data: str, *, concurrency: int) -> None:  # noqa: ARG002 - as all
        from obstore.store import HTTPStore

        super().__init__(concurrency)
        self._store = HTTPStore.from_url(base, client_options={"allow_http": True})

    async def _fetch(self, path: str) -> object:
        return await (await self._store.get_async(path)).bytes_async()


class S3fs(_Bare):
    """s3fs by itself: `concurrency` connections and as many tasks.

    `heads` is what it does by default: before each object it asks for the size, to read large ones in parts.
    """

    def __init__(
        self,
        base: str,
        images: ImageSet,  # noqa: ARG002 - as all
        data: str,  # noqa: ARG002
        *,
        concurrency: int,
        heads: bool,
    ) -> None:
        import s3fs

        super().__init__(concurrency)
        config = {"max_pool_connections": concurrency}
        self._files = s3fs.S3FileSystem(
            anon=True, endpoint_url=base, config_kwargs=config, asynchronous=True, loop=self._loop
        )
        self._parts = None if heads else 1

    async def _fetch(self, path: str) -> bytes:
        whole = self._files._cat_file(f"bucket/{path}", max_concurrency=self._parts)
        return await whole
