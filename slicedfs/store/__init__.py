"""The only I/O of slicedfs: objects and byte ranges from any fsspec filesystem.

Outside in:

::

    door         run, run_async: onto fsspec's loop and back; in_thread: the decode pool
    store        Store.read, Store.fetch: names, limits, retry, errors
    access       which options belong to which origin
    filesystems  options -> fsspec filesystem
    readers      filesystem -> way of reading: web, remote (async), local, blocking (in threads)
    replies      is it what was asked for?
    wire         a slim client of HTTP for http, https and s3
    writing      one file, piece by piece
    retry        when a failed try is worth another; the only retry layer
    failures     what foreign exceptions mean, and what callers get to read
    slots, pace  requests per origin, as many as it can take; what is known of its speed
    hedge        a second request where one is stuck
    limits       bytes per process
    pump         pieces of work between the loop and the decode threads
    crew         tasks that share work and may become more
    memo, gather, memory   values made once; several coroutines as one; free memory
"""

from slicedfs.store.cache import Cache
from slicedfs.store.door import in_thread, run, run_async
from slicedfs.store.gather import gather
from slicedfs.store.local import map_file
from slicedfs.store.memo import Memo
from slicedfs.store.memory import free_bytes
from slicedfs.store.options import Reply, Request, StoreOptions
from slicedfs.store.pace import Pace
from slicedfs.store.store import Store
from slicedfs.store.writing import write

__all__ = [
    "Cache",
    "Memo",
    "Pace",
    "Reply",
    "Request",
    "Store",
    "StoreOptions",
    "free_bytes",
    "gather",
    "in_thread",
    "map_file",
    "run",
    "run_async",
    "write",
]
