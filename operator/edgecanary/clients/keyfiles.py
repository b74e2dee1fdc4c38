"""The keys that are trusted, from files on this host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecanary.artifact.envelope import MAX_KEY_BYTES, MAX_KEYS, BadKey, key_id, read_public_keys
from edgecanary.base.errors import InvalidInput

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@dataclass(frozen=True)
class TrustRoots:
    """The keys that a node trusts, by their ids, and how many of them must sign."""

    keys: "Mapping[str, Ed25519PublicKey]"
    threshold: int = 1


def load_roots(paths: Sequence[Path], threshold: int) -> TrustRoots | None:
    """The keys in the files, and in all `.pem` and `.pub` files of directories; None when there are no paths.

    Raises InvalidInput naming the flag and the file: an agent that cannot read its keys must not start.
    """
    if not paths:
        if threshold != 1:
            raise InvalidInput("--trust-threshold", "must not be given without --trust-root")
        return None
    keys = {key_id(key): key for path in paths for file in _key_files(path) for key in _read_keys(file)}
    if len(keys) > MAX_KEYS:
        raise InvalidInput("--trust-root", f"must hold at most {MAX_KEYS} different keys, got {len(keys)}")
    if threshold > len(keys):
        rule = f"must be at most the number of different keys, {len(keys)}, got {threshold}"
        raise InvalidInput("--trust-threshold", rule)
    return TrustRoots(keys, threshold)


def _key_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in (".pem", ".pub") and file.is_file())
    if not found:
        raise InvalidInput("--trust-root", f"{path} holds no file that ends in .pem or .pub")
    return found


def _read_keys(path: Path) -> "Sequence[Ed25519PublicKey]":
    try:
        with path.open("rb") as file:
            return read_public_keys(file.read(MAX_KEY_BYTES + 1))
    except OSError as error:
        raise InvalidInput("--trust-root", f"{path} cannot be read: {error.strerror}") from error
    except BadKey as error:
        raise InvalidInput("--trust-root", f"{path} {error}") from error
