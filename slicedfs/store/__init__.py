"""The only I/O of slicedfs: objects and byte ranges from any fsspec filesystem.

Outside in:

::

    door         run, run_async: onto fsspec's loop and back; in_thread: the decode pool
    store        Store.read, Store.fetch: names, limits, retry, errors
    access       which options belong to which origin
    filesystems  options -> fsspec filesystem
    readers      filesystem -> way of reading: web, remote (async), local, blocking (in threads)
    replies      is it what was asked for?
    retry        when a failed try is worth another; the only retry layer
    failures     what foreign exceptions mean, and what callers get to read
    limits       requests per origin, bytes per process
    memo, gather, memory   values made once; several coroutines as one; free memory
"""

from slicedfs.store.cache import Cache
from slicedfs.store.door import in_thread, run, run_async
from slicedfs.store.gather import gather
from slicedfs.store.memo import Memo
from slicedfs.store.memory import free_bytes
from slicedfs.store.options import Reply, Request, StoreOptions
from slicedfs.store.store import Store

__all__ = [
    "Cache",
    "Memo",
    "Reply",
    "Request",
    "Store",
    "StoreOptions",
    "free_bytes",
    "gather",
    "in_thread",
    "run",
    "run_async",
]
