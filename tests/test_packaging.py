"""The folders, put together under one name."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import tapegrad

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = SETTINGS["tool"]["setuptools"]["package-dir"]


def source_files():
    """Each module by its path under the import names."""
    for name, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            yield Path(*name.split("."), path.relative_to(ROOT / folder)).as_posix()


def test_every_source_file_is_installed_and_nothing_else_is():
    top = Path(tapegrad.__file__).parent
    installed = {path.relative_to(top.parent).as_posix() for path in top.rglob("*.py")}
    assert installed == set(source_files()), "run make test, or install again"
    assert (top / "py.typed").exists()


def test_every_source_folder_is_a_package():
    for path in source_files():
        for parent in Path(path).parents[:-2]:
            assert f"{parent.as_posix()}/__init__.py" in set(source_files())


def test_numpy_is_the_only_dependency():
    required = metadata.requires("tapegrad")
    assert [line for line in required if "extra ==" not in line] == ["numpy>=2.0"]


def test_version_is_stated_once():
    assert metadata.version("tapegrad") == SETTINGS["project"]["version"]


def test_pre_commit_uses_the_same_ruff():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    (ours,) = [t for t in SETTINGS["project"]["optional-dependencies"]["test"] if "ruff" in t]
    assert set(re.findall(r'"(ruff[^"]*)"', hooks)) == {ours}


@pytest.mark.slow
def test_the_wheel_holds_every_module(tmp_path):
    pytest.importorskip("setuptools")
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ["pyproject.toml", "setup.py", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, checkout)
    for folder in FOLDERS.values():
        shutil.copytree(ROOT / folder, checkout / folder)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*build, "-w", tmp_path], cwd=checkout, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("tapegrad-*-py3-none-any.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {*source_files(), "tapegrad/py.typed"}
