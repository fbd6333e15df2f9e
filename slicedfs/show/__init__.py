"""What people get to see: plans, traces, progress bars, cards of nodes, tables of tiles, thumbnails, chunk sizes.

::

    plan         what a selection would request: slicedfs.explain
    tracing      what a block of code did request: slicedfs.trace
    bars         progress bars over loads: slicedfs.progress
    cards        HTML of nodes for notebooks; summary.py says what there is to tell, thumbnails.py shows pixels
    tiletable    the tiles of a set as columns or a pandas DataFrame
    chunking     chunk sizes that suit dask: slicedfs.suggest_chunks
    sizes        bytes as text, and back
"""
