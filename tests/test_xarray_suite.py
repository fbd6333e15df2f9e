"""xarray's own tests of its backends, on arrays that this engine reads from tiles."""

import contextlib
import copy
import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from smallsets import npy
from xarray.backends.common import BackendEntrypoint

from slicedfs.xarray_backend import SlicedfsBackendEntrypoint

# xarray's tests use markers of their own, which pytest's strict mode refuses while they are imported.
pytest.mark._markers |= {"flaky", "network", "skip_if_param", "skip_with_dask_array"}

from xarray.tests import assert_no_warnings, test_backends, test_backends_api  # noqa: E402
from xarray.tests.conftest import time_unit, use_dask  # noqa: E402, F401 - fixtures that inherited tests ask for

RUN = {
    "test_array_type_after_indexing",
    "test_dataset_caching",
    "test_dataset_compute",
    "test_dropna",
    "test_empty_isel",
    "test_empty_isel_multidim",
    "test_isel_dataarray",
    "test_load",
    "test_load_async",
    "test_ondisk_after_print",
    "test_orthogonal_indexing",
    "test_outer_indexing_reversed",
    "test_pickle",
    "test_pickle_dataarray",
    "test_roundtrip_None_variable",
    "test_roundtrip_boolean_dtype",
    "test_roundtrip_coordinates",
    "test_roundtrip_float64_data",
    "test_roundtrip_global_coordinates",
    "test_roundtrip_test_data",
    "test_vectorized_indexing",
    "test_vectorized_indexing_negative_step",
    "test_zero_dimensional_variable",
}
"""Inherited tests that are known to run here; new ones of later versions run as well."""

NOT_OURS = {
    "test_write_store": "asks for a store to write to; this engine only reads",
    "test_roundtrip_object_dtype": "tiles hold numbers, no objects",
    "test_roundtrip_string_data": "tiles hold numbers, no texts",
    "test_roundtrip_stringdtype_data": "tiles hold numbers, no texts",
    "test_roundtrip_stringdtype_nulls": "tiles hold numbers, no texts",
    "test_roundtrip_stringdtype_with_na_object": "tiles hold numbers, no texts",
    "test_roundtrip_string_encoded_characters": "is about how netCDF encodes texts",
    "test_roundtrip_numpy_datetime_data": "is about the CF encoding of times",
    "test_roundtrip_cftime_datetime_data": "is about the CF encoding of times",
    "test_roundtrip_timedelta_data": "is about the CF encoding of times",
    "test_roundtrip_timedelta_data_via_dtype": "is about the CF encoding of times",
    "test_roundtrip_example_1_netcdf": "needs a netCDF file and a reader for it",
    "test_roundtrip_coordinates_with_space": "is about the warning of a netCDF writer",
}

TILE = (3, 4)
"""(y, x) of a tile, pixels; those at the end are smaller."""


def write_image(directory, array):
    """Write `array` as set.json and tiles, by plain JSON and NPY: the last two axes are cut, 1-d and 0-d get more."""
    directory.mkdir(parents=True)
    whole = array.reshape((1,) * (2 - array.ndim) + array.shape)
    labels = [f"d{axis}" for axis in range(whole.ndim - 2)]
    tiles = []
    for at in np.ndindex(whole.shape[:-2]):
        for y, x in np.ndindex(*(-(-size // tile) for size, tile in zip(whole.shape[-2:], TILE, strict=True))):
            part = whole[at][y * TILE[0] : (y + 1) * TILE[0], x * TILE[1] : (x + 1) * TILE[1]]
            name = "-".join(map(str, (*at, y, x))) + ".npy"
            (directory / name).write_bytes(npy(part))
            ranges = {
                "y": [y * TILE[0], y * TILE[0] + part.shape[0]],
                "x": [x * TILE[1], x * TILE[1] + part.shape[1]],
            }
            shape = dict(zip("yx", part.shape, strict=True))
            indices = dict(zip(labels, at, strict=True))
            tiles.append({"file": name, "indices": indices, "coordinates": ranges, "tile_shape": shape})
    counts = dict(zip(labels, whole.shape[:-2], strict=True))
    document = {"version": "0.1.0", "dimensions": [*labels, "y", "x"], "shape": counts, "tiles": tiles}
    (directory / "set.json").write_text(json.dumps(document))


def read_image(directory, dims):
    """Give the lazy variable of what `write_image` wrote."""
    variable = SlicedfsBackendEntrypoint().open_dataset(directory / "set.json").variables["image"]
    variable = variable.isel(dict.fromkeys(("y", "x")[: max(0, 2 - len(dims))], 0))
    return xr.Variable(dims, variable._data)


def in_tiles(name, variable, dataset):
    """Tell whether `variable` is written as tiles; xarray loads the variables of dims at once, whoever gives them."""
    return variable.dtype.kind in "buifc" and variable.size and name not in dataset.dims


class Composed(BackendEntrypoint):
    """Opens what `TestDatasetIO.save` wrote: numbers by the engine, lazily, all else from memory."""

    open_dataset_parameters = ("filename_or_obj", "drop_variables")
    saved = {}  # noqa: RUF012 - path -> Dataset, for one test

    def open_dataset(self, filename_or_obj, *, drop_variables=None):
        kept = self.saved[filename_or_obj]
        variables = dict(kept.variables)
        for number, (name, variable) in enumerate(kept.variables.items()):
            if in_tiles(name, variable, kept):
                lazy = read_image(Path(filename_or_obj) / str(number), variable.dims)
                variables[name] = xr.Variable(variable.dims, lazy._data, variable.attrs)
        data = {name: variable for name, variable in variables.items() if name not in kept.coords}
        coords = {name: variable for name, variable in variables.items() if name in kept.coords}
        return xr.Dataset(data, coords, kept.attrs)


class TestDatasetIO(test_backends.DatasetIOBase):
    """Everything that xarray expects of Datasets from any backend, see RUN and NOT_OURS."""

    locals().update(dict.fromkeys(NOT_OURS))

    @pytest.fixture(autouse=True)
    def _forget(self):
        yield
        Composed.saved.clear()

    def save(self, dataset, path):
        Composed.saved[path] = copy.deepcopy(dataset)
        for number, (name, variable) in enumerate(dataset.variables.items()):
            if in_tiles(name, variable, dataset):
                write_image(Path(path) / str(number), variable.values)

    @contextlib.contextmanager
    def open(self, path, **options):
        options.pop("decode_coords", None)  # CF's; nothing is encoded here
        with xr.open_dataset(path, engine=Composed, **options) as dataset:
            yield dataset


def test_inherited_tests():
    """Every test listed exists in xarray, those of RUN are collected here, and those of NOT_OURS are not."""
    upstream = {name for name in dir(test_backends.DatasetIOBase) if name.startswith("test_")}
    assert not (RUN | set(NOT_OURS)) - upstream
    assert all(callable(getattr(TestDatasetIO, name)) for name in RUN)
    assert all(getattr(TestDatasetIO, name) is None for name in NOT_OURS)


def test_the_writer(tmp_path):
    """The data of the inherited tests are in tiles: 7 by 9 pixels of 3 by 4 give nine of them."""
    array = np.arange(2 * 7 * 9).reshape(2, 7, 9)
    write_image(tmp_path / "a", array)
    assert len(list((tmp_path / "a").glob("*.npy"))) == 2 * 9
    variable = read_image(tmp_path / "a", ("r", "y", "x"))
    assert not variable._in_memory
    np.testing.assert_array_equal(variable.values, array)


def cases(name):
    """Give the parametrisation of one of xarray's tests of preferred chunks."""
    (marks,) = [
        mark
        for mark in getattr(test_backends_api.TestPreferredChunks, name).pytestmark
        if mark.args[0] != "request_with_empty_map"
    ]
    return marks.args


def open_tiled(directory, shape, tile_sizes, **options):
    """Write and open an image of `shape` (1-d: one row) whose tiles have `tile_sizes`; give its variable and pixels."""
    shape = (1,) * (2 - len(shape)) + shape
    tile_sizes = (1,) * (2 - len(tile_sizes)) + tile_sizes
    pixels = np.arange(1, np.prod(shape) + 1, dtype="uint16").reshape(shape)
    edges = [np.cumsum([0, *chunks]) for chunks in test_backends_api.explicit_chunks(tile_sizes, shape)]
    tiles = []
    for row, column in np.ndindex(len(edges[0]) - 1, len(edges[1]) - 1):
        (y0, y1), (x0, x1) = edges[0][row : row + 2].tolist(), edges[1][column : column + 2].tolist()
        (directory / f"{row}-{column}.npy").write_bytes(npy(pixels[y0:y1, x0:x1]))
        ranges, size = {"y": [y0, y1], "x": [x0, x1]}, {"y": y1 - y0, "x": x1 - x0}
        tiles.append({"file": f"{row}-{column}.npy", "indices": {}, "coordinates": ranges, "tile_shape": size})
    document = {"version": "0.1.0", "dimensions": ["y", "x"], "shape": {}, "tiles": tiles}
    (directory / "set.json").write_text(json.dumps(document))
    return xr.open_dataset(directory / "set.json", engine="slicedfs", **options).image, pixels


def requested(chunks):
    """Give `chunks` (1-d: of x) by the name of the dim."""
    return dict(zip(("y", "x")[-len(chunks) :], chunks, strict=True))


class TestPreferredChunks:
    """What xarray tests of preferred chunks on a stand-in, on real tile sets."""

    def check(self, opened, shape, expected):
        array, pixels = opened
        assert array.chunks[-len(shape) :] == test_backends_api.explicit_chunks(expected, shape)
        np.testing.assert_array_equal(array.values, pixels)

    @pytest.mark.parametrize(*cases("test_honor_chunks"))
    @pytest.mark.parametrize("with_empty_map", [False, True])
    def test_honor_chunks(self, tmp_path, shape, pref_chunks, with_empty_map):
        """Chunks are the tiles, unless others are asked for."""
        chunks = {} if with_empty_map else {"y": None, "x": None}
        self.check(open_tiled(tmp_path, shape, pref_chunks, chunks=chunks), shape, pref_chunks)

    @pytest.mark.parametrize(*cases("test_split_chunks"))
    def test_split_chunks(self, tmp_path, shape, pref_chunks, req_chunks):
        """Chunks that cut tiles give a warning, and the pixels."""
        with pytest.warns(UserWarning, match="separate the stored chunks along dimension"):
            opened = open_tiled(tmp_path, shape, pref_chunks, chunks=requested(req_chunks))
        self.check(opened, shape, req_chunks)

    @pytest.mark.parametrize(*cases("test_join_chunks"))
    def test_join_chunks(self, tmp_path, shape, pref_chunks, req_chunks):
        """Chunks that join tiles give no warning."""
        with assert_no_warnings():
            opened = open_tiled(tmp_path, shape, pref_chunks, chunks=requested(req_chunks))
        self.check(opened, shape, req_chunks)

    @pytest.mark.parametrize(*cases("test_default_indexes"))
    def test_default_indexes(self, tmp_path, create_default_indexes):
        """Indexes of the dims are made unless that is switched off; the coordinates are there in both cases."""
        array, _ = open_tiled(tmp_path, (5, 6), (4, 2), create_default_indexes=create_default_indexes)
        assert sorted(array.xindexes) == (["x", "y"] if create_default_indexes else [])
        assert array.x.values.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]


def test_cases_are_xarrays():
    """The parametrisations came along: as many cases as xarray has in 2026.9, or more."""
    names = ("test_honor_chunks", "test_split_chunks", "test_join_chunks", "test_default_indexes")
    assert [len(cases(name)[1]) >= least for name, least in zip(names, (4, 5, 8, 2), strict=True)] == [True] * 4
