"""GET over HTTP/1.1 on the I/O loop, with nothing between the socket and the buffer that is handed back.

Outside in:

::

    http, s3     which filesystems are plain enough, and what their requests say; sigv4: signatures
    answers      what of a reply to take, and what it means; for replies that aiohttp brings, too
    client       the connections of one filesystem: they live and go with it, and are made anew after fork
    pool         connections to one origin: used again, watched while they work, closed when idle
    dial         name to addresses to socket
    connection   one request and its reply: an asyncio.BufferedProtocol
    heads, chunks, buffers   status and headers; chunked bodies; memory that is used again

Why not aiohttp, s3fs or obstore alone: ``benchmarks/transports.py`` printed these µs of CPU for one GET, kernel
included, 64 connections to an nginx of the same machine (two busy cores, Python 3.11.7, aiohttp 3.14.5, fsspec and
s3fs 2026.9.0, aiobotocore 3.10.0, obstore 0.12.1; all in one run, in which "store" is the whole of slicedfs' store):

=========================  ======  =======  =====
client                     64 KiB  512 KiB  8 MiB
=========================  ======  =======  =====
plain sockets, one buffer      26      140   4191
aiohttp                       108      406   9331
fsspec http                   130      395   6308
obstore http                  157      477   8510
store, by aiohttp             209      592   6104
store, by the wire            124      248   2418
s3fs                         1292     1708   8787
obstore S3                    183      441   6945
store, by s3fs               1476     1859   7959
store, by the wire            204      315   4063
=========================  ======  =======  =====

The client alone takes about 60 µs at 64 KiB and 180 at 512 KiB. What tells: bodies are received into their own buffer
(two or three receives for 512 KiB), buffers are used again (new pages cost more than the bytes in them: below plain
sockets at 8 MiB), heads are parsed by three regular expressions, and one timer watches all connections. obstore's own
threads take as much CPU in all as aiohttp, and it brings its own retry, options, errors and redirects, and traps at
fork and Ctrl-C; so it is not used. Whatever is not plain (proxies, cookies, certificates of one's own, requester pays,
sessions of the user's) stays with aiohttp and s3fs.
"""
