"""The picture of the package in its docstring is true: imports point down only."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_import_contracts():
    """import-linter finds all contracts of pyproject.toml kept."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert [contract["type"] for contract in contracts].count("layers") == 2
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert f"Contracts: {len(contracts)} kept, 0 broken." in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_every_module_has_a_layer():
    """Every module of slicedfs, and of its layout, has a layer, but for the entry point and the fakes for tests."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers":
            named = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
            (container,) = contract["containers"]
            package = ROOT / container.replace(".", "/")
            modules = {path.stem for path in package.glob("*.py")} | {
                path.parent.name for path in package.glob("*/__init__.py")
            }
            assert named == modules - {"__init__", "__main__", "testing"}, container
