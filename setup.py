"""Finds the packages, sub-packages included; everything else is said in pyproject.toml."""

import tomllib
from pathlib import Path

from setuptools import find_packages, setup

settings = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8"))

packages: list[str] = []
for name, folder in settings["tool"]["setuptools"]["package-dir"].items():
    if Path(folder, "__init__.py").exists():
        packages += [name, *(f"{name}.{inner}" for inner in find_packages(folder))]

setup(packages=packages)
