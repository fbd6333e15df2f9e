"""What users can import, what it says of itself, and what importing it does not load."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import slicedfs

PUBLIC = [
    "ChecksumError",
    "CodecError",
    "Collection",
    "GraphSizeWarning",
    "ManifestError",
    "ManifestWarning",
    "MissingExtraError",
    "MissingTileError",
    "MissingTileWarning",
    "Plan",
    "SlicedfsError",
    "SlicedfsWarning",
    "SpecError",
    "StoreError",
    "Thumbnails",
    "TileSet",
    "Trace",
    "UrlPolicy",
    "UrlPolicyError",
    "explain",
    "index",
    "open",
    "open_dataarray",
    "progress",
    "suggest_chunks",
    "trace",
]
"""The promise: whoever changes this list changes the interface."""


def loaded(code):
    """Give the modules that a fresh interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_names():
    """The public names are these, sorted; dir() shows them and the version, and nothing else."""
    assert slicedfs.__all__ == PUBLIC == sorted(PUBLIC)
    assert sorted(dir(slicedfs)) == sorted([*PUBLIC, "__version__"])


def test_all_names_exist():
    """Every public name can be imported, by star too."""
    assert "slicedfs.show.plan" in loaded(f"from slicedfs import *\nassert not set({PUBLIC!r}) - set(globals())")


def test_unknown_names():
    """Another name is an AttributeError."""
    with pytest.raises(AttributeError, match=r"^module 'slicedfs' has no attribute 'nothing'$"):
        _ = slicedfs.nothing


FIRST = [
    "slicedfs.Plan",
    "slicedfs.explain",
    "slicedfs.open_dataarray",
    "from slicedfs import *",
    "import slicedfs.xarray_backend, slicedfs.cli",
    "import slicedfs.cli; slicedfs.cli.main(['explain', 'nothing.json'])",
]


@pytest.mark.parametrize("first", FIRST)
def test_functions_are_functions(first):
    """Public functions are callable whatever was used before."""
    functions = [name for name in PUBLIC if name.islower()]
    assert "explain" in functions
    program = f"import slicedfs\n{first}\nfor name in {functions}: assert callable(getattr(slicedfs, name)), name"
    subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)


def test_names_are_no_modules():
    """No public function has the name of a module, which would take its place as soon as that is imported."""
    modules = {module.name for module in pkgutil.iter_modules(slicedfs.__path__)}
    assert "opening" in modules
    assert not modules & set(PUBLIC)


def modules():
    """Give all modules of the package but the entry point."""
    names = [module.name for module in pkgutil.walk_packages(slicedfs.__path__, "slicedfs.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def test_docstrings():
    """Everything that a module offers has a docstring, its public methods too, and so has every module."""
    missing = [module.__name__ for module in modules() if not module.__doc__]
    for module in modules():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            where = f"{module.__name__}.{name}"
            if inspect.isclass(thing) and thing.__module__.startswith("slicedfs"):
                missing += [
                    f"{where}.{key}"
                    for key, member in vars(thing).items()
                    if not key.startswith("_")
                    and (inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod))
                    and not inspect.getdoc(getattr(thing, key))
                ]
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and not inspect.getdoc(thing):
                missing.append(where)
    assert missing == []
    assert len(modules()) > 20


def test_all_is_right():
    """Whatever a module lists in __all__ is there, once, and sorted within its kind of name."""
    for module in modules():
        listed = list(getattr(module, "__all__", ()))
        assert len(listed) == len(set(listed)), module.__name__
        assert [name for name in listed if not hasattr(module, name)] == [], module.__name__


def test_errors_are_what_callers_expect():
    """Each error is the builtin that callers catch, and all are SlicedfsError."""
    bases = {
        "ManifestError": ValueError,
        "UrlPolicyError": PermissionError,
        "StoreError": OSError,
        "MissingTileError": FileNotFoundError,
        "ChecksumError": ValueError,
        "CodecError": ValueError,
        "SpecError": ValueError,
        "MissingExtraError": ImportError,
    }
    for name, builtin in bases.items():
        assert issubclass(getattr(slicedfs, name), builtin)
        assert issubclass(getattr(slicedfs, name), slicedfs.SlicedfsError)
    for name in ("ManifestWarning", "MissingTileWarning"):
        assert issubclass(getattr(slicedfs, name), slicedfs.SlicedfsWarning)
    assert issubclass(slicedfs.SlicedfsWarning, UserWarning)
    assert issubclass(slicedfs.MissingTileError, slicedfs.StoreError)


HEAVY = {"aiohttp", "dask", "fsspec", "imagecodecs", "msgspec", "numpy", "pandas", "PIL", "s3fs", "tifffile", "xarray"}


def test_importing_is_light():
    """``import slicedfs`` loads nothing heavy, nor does the command line's help."""
    assert loaded("import slicedfs, slicedfs.cli") & HEAVY == set()


def test_the_entry_point_is_light():
    """The engine, which xarray loads for every user of open_dataset, adds nothing heavy to what xarray loads."""
    after = loaded("import xarray\nimport slicedfs.xarray_backend")
    assert "slicedfs.xarray_backend" in after
    assert (after - loaded("import xarray")) & HEAVY == set()
    assert not after & {"s3fs", "aiohttp", "tifffile", "PIL", "dask", "fsspec"}


def test_the_entry_point_is_registered():
    """The engine is found by xarray, guesses nothing, and says what it opens."""
    import xarray as xr

    engine = xr.backends.list_engines()["slicedfs"]
    assert type(engine).__name__ == "SlicedfsBackendEntrypoint"
    assert engine.supports_groups
    assert engine.description == "Tiled image sets (slicedimage / SpaceTx manifests) on any fsspec filesystem"
    guesses = [engine.guess_can_open(what) for what in ("m.json", "s3://b/m.json", b"{}", 5, None)]
    assert guesses == [False] * 5


def test_version():
    """The version is a version."""
    assert slicedfs.__version__.split(".")[:2] == ["0", "1"]
