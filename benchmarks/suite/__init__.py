"""The parts of ``python -m benchmarks.peers``.

A map; imports point down::

    runner      rounds: every reader in turn, counted at the server
    extras      rows that are no reader: open cost, planning, memory, cache, S3
    process worker    the process of one reader: from outside, and inside
    readers     one file a family: what is timed, and nothing else
    goals tables plots    numbers -> met / not met, Markdown, PNG; pure
    server      nginx with an injected delay, and its access log
    data        the image set in every format
    workloads   which pixels are asked for
    pixels      the pixels of each tile, as a function of its place: data and oracle

`pixels`, `workloads`, `goals` and `tables` import numpy at most.
"""
