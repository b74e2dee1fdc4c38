"""Applies a delta on disk. Loaded only when there is one: it brings zstd along."""

import hashlib
import os
from collections.abc import Callable

from edgecanary.agent.deltas import Patch
from edgecanary.artifact.delta import DeltaInvalid
from edgecanary.artifact.delta_apply import apply_delta


def build(patch: Patch, check: Callable[[], None]) -> None:
    """Makes the new file, durable and verified; when anything fails nothing is left of it.

    `check` is called before each block and may raise to end the work. Raises DeltaInvalid when the delta does
    not make just what is wanted, and OSError when the disk fails.
    """
    try:
        _write(patch, check)
    except BaseException:
        patch.made.unlink(missing_ok=True)
        raise


def _write(patch: Patch, check: Callable[[], None]) -> None:
    digest = hashlib.sha256()
    with patch.delta.open("rb") as delta, patch.old.open("rb") as old, patch.made.open("wb") as made:
        for piece in apply_delta(delta, old, patch.size):
            check()
            digest.update(piece)
            made.write(piece)
        if digest.hexdigest() != patch.sha256:
            raise DeltaInvalid(f"makes a file with sha256 {digest.hexdigest()}, wanted is {patch.sha256}")
        made.flush()
        os.fsync(made.fileno())
