"""How tests drive the partial reads of the codecs: over the bytes of a file, as the readers do over a store."""

from collections.abc import Callable

import numpy as np
import pytest
from tilefiles import driven

from slicedfs.codecs import Layout, Part, TileRequest, layout
from slicedfs.ranges import ByteRange


def _read_layout(data: bytes, wanted: TileRequest) -> tuple[Layout | None, list[ByteRange]]:
    return driven(layout(wanted), data)


def _read_part(data: bytes, part: Part) -> np.ndarray:
    return part.pixels([data[range_.start : range_.stop] for range_ in part.ranges])


@pytest.fixture(scope="session")
def read_layout() -> Callable[[bytes, TileRequest], tuple[Layout | None, list[ByteRange]]]:
    """Give ``read_layout(data, request)``: the layout of a file, and the ranges that were asked for."""
    return _read_layout


@pytest.fixture(scope="session")
def read_part() -> Callable[[bytes, Part], np.ndarray]:
    """Give ``read_part(data, part)``: the pixels of a part, from exactly its ranges of the file."""
    return _read_part
