"""Where tiles lie in one array, and which of them a selection touches. Pure numpy: no I/O, no xarray.

From a document to an array, and from a selection to its tiles::

    merge        several tile set documents as one: stacked, or side by side
    placement    document -> axes, labels, positions; the lookup
    mosaic       tiles at one position: where they lie on one pixel grid, or why they do not fit
    coords       ranges of coordinates <-> pixels
    labelled     the coordinates of the array
    selection    what was selected, composed lazily
    grid         selection -> tiles and their parts, by a table of cells
    scattered    the same for tiles at any offset, which may overlap
"""
