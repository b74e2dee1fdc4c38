"""Makes a delta between two versions of a file, tries it, and prints what to put into the manifest."""

import argparse
import contextlib
import hashlib
import io
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

from edgecanary.api.artifacts import DeltaFormat
from edgecanary.artifact.delta import WORTH_PERCENT, is_worth_it
from edgecanary.artifact.delta_apply import apply_delta
from edgecanary.artifact.delta_encode import encode_delta
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.base.quantities import human_bytes
from edgecanary.cli.model import EXIT_NOT_WORTH_IT


def run(options: argparse.Namespace) -> int:
    """Writes the delta; returns the exit code."""
    output = Path(options.output)
    kinds = list(DeltaFormat) if options.format == "auto" else [DeltaFormat(options.format)]
    with _mapped(Path(options.old), "OLD") as old, _mapped(Path(options.new), "NEW") as new:
        sizes = len(old), len(new)
        digests = hashlib.sha256(old).hexdigest(), hashlib.sha256(new).hexdigest()
        if digests[0] == digests[1]:
            raise InvalidInput("NEW", f"must be another file than OLD; both have sha256 {digests[0]}")
        made = {kind: _made(kind, old, new, options.level) for kind in kinds}
        kind = min(made, key=lambda kind: len(made[kind]))
        delta = made[kind]
        for name, found in made.items():
            sys.stderr.write(f"{name}: {_share(len(found), sizes[1])}\n")
        if not is_worth_it(len(delta), sizes[1]):
            sys.stderr.write(
                f"not worth it: nodes take a delta below {WORTH_PERCENT} % of the file; nothing was written\n"
            )
            return EXIT_NOT_WORTH_IT
        _try_out(delta, old, sizes[1], digests[1])
    _write(output, delta)
    sys.stdout.write(_stanza(kind, delta, digests[0], options.uri))
    return 0


def _made(kind: DeltaFormat, old: mmap.mmap, new: mmap.mmap, level: int) -> bytes:
    return b"".join(encode_delta(kind, old, new, level=level))


def _try_out(delta: bytes, old: mmap.mmap, size: int, sha256: str) -> None:
    """Applies the delta as a node would. Raises EdgecanaryError when it does not make the new file."""
    digest = hashlib.sha256()
    for piece in apply_delta(io.BytesIO(delta), old, size):
        digest.update(piece)
    if digest.hexdigest() != sha256:
        raise EdgecanaryError("DeltaDefect", "the delta does not make the new file; report this defect")


def _write(path: Path, delta: bytes) -> None:
    draft = path.with_name(f"{path.name}.part")
    try:
        draft.write_bytes(delta)
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise EdgecanaryError("DiskFailed", f"{path}: cannot be written: {error}") from error


def _stanza(kind: DeltaFormat, delta: bytes, from_sha256: str, uri: str) -> str:
    """The delta for `spec.variants[].files[]` of the EdgeModel."""
    lines = (
        "deltas:",
        f"  - fromSha256: {from_sha256}",
        f"    format: {kind}",
        f"    uri: {uri}",
        f"    sha256: {hashlib.sha256(delta).hexdigest()}",
        f"    sizeBytes: {len(delta)}",
    )
    return "\n".join(lines) + "\n"


def _share(size: int, full: int) -> str:
    return f"{human_bytes(size)}, {100 * size / full:.1f} % of the new file's {human_bytes(full)}"


@contextlib.contextmanager
def _mapped(path: Path, name: str) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content
    except (OSError, ValueError) as error:
        raise InvalidInput(
            name, f"must be a file that can be read and is not empty: {path}: {error}"
        ) from error
