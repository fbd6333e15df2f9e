"""Reads a selection: which bytes of which tiles, their pixels, into one array.

::

    selection.py   read_selection: the output, its tiles, what was kept, errors
    tiles.py       one tile: its replies -> verified, decoded, pasted
    choice.py      whole or in part? the ranges to ask for. Pure
    boxes.py       which boxes of a tile are wanted; several parts of a file as one. Pure
    knowledge.py   what is known of the layouts of a source's files
    extents.py     ranges merged and split, replies put together again. Pure
    shared.py      tiles that several reads want: one fetch, kept for a while
"""

from slicedfs.read.choice import Choice
from slicedfs.read.selection import choices, read_selection

__all__ = ["Choice", "choices", "read_selection"]
