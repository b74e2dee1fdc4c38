"""Modules that are loaded only when they are needed: a node has no operator packages, nor the reverse."""

import importlib
from types import ModuleType

from edgecanary.base.errors import EdgecanaryError


def load(module: str, *, extra: str) -> ModuleType:
    """The module `edgecanary.cli.<module>`.

    Raises EdgecanaryError naming the extra that brings the package it needs, when that is not installed.
    """
    try:
        return importlib.import_module(f"edgecanary.cli.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("edgecanary"):
            raise
        text = f"{error.name} is not installed; install it with: pip install 'edgecanary[{extra}]'"
        raise EdgecanaryError("MissingPackage", text) from error
