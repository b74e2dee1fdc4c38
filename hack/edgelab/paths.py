"""Where the lab keeps its things."""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder for what is made once and used by every checkout (programs, models).

    `EDGECANARY_CACHE`, else `edgecanary` in `XDG_CACHE_HOME`, else `~/.cache/edgecanary`.
    """
    if own := environ.get("EDGECANARY_CACHE"):
        return Path(own).expanduser().absolute()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg).expanduser().absolute() / "edgecanary"
    return Path.home() / ".cache" / "edgecanary"
