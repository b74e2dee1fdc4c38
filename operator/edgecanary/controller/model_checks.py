"""Whether a model's files are what its spec says: length, digest, tensors, golden cases, drift profile.

Files are streamed: only an ONNX entrypoint goes through a temporary file, which is mapped, never read whole.
"""

import contextlib
import hashlib
import mmap
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgecanary.analysis.profile import parse_profile
from edgecanary.api.artifacts import MAX_FILE_BYTES, FileDelta, Format, Golden, ModelFile, Profile, Variant
from edgecanary.api.edgemodel import EdgeModelSpec, VariantStatus, VariantVerdict
from edgecanary.artifact.golden import check_golden
from edgecanary.artifact.onnx_content import DEFAULT_DOMAINS, check_content
from edgecanary.artifact.onnx_io import check_onnx_io
from edgecanary.base.errors import InvalidInput, NotAllowed, Unavailable
from edgecanary.base.quantities import human_bytes
from edgecanary.clients.objectstore import ObjectStore

SERVABLE = frozenset({Format.ONNX})
"""Formats that the agents of this version can run."""

_LEAST_BYTES_PER_SECOND = 256 * 1024
_GRACE_SECONDS = 60.0
_SPARE_BYTES = 64 * 2**20

Sink = Callable[[bytes], object]


@dataclass(frozen=True)
class Checked:
    """What the checks found: a verdict for each variant, and the first thing that is wrong."""

    variants: tuple[VariantStatus, ...]
    problem: InvalidInput | None = None


def check_model(
    spec: EdgeModelSpec, store: ObjectStore, domains: Collection[str] = DEFAULT_DOMAINS
) -> Checked:
    """Fetches and checks every file. `domains` are those whose operators an ONNX file may use.

    Raises NotFound and Unavailable when a file cannot be had, for whatever reason: nothing is known then.
    """
    unknown = tuple(VariantStatus(name=variant.name) for variant in spec.variants)
    try:
        check_spec(spec)
        cases = _check_golden(spec, store) if spec.golden else 0
        _check_profile(spec, store)
    except InvalidInput as error:
        return Checked(unknown, error)
    results = [_check_variant(spec, index, store, domains) for index in range(len(spec.variants))]
    problems = [error for _, error in results if error is not None]
    golden = f", {plural(cases, 'golden case')}" if cases else ""
    variants = tuple(
        status.model_copy(update={"message": status.message + golden}) if error is None else status
        for status, error in results
    )
    return Checked(variants, problems[0] if problems else None)


def check_spec(spec: EdgeModelSpec) -> None:
    """Checks what the schema cannot say. Raises InvalidInput naming the field."""
    for index, variant in enumerate(spec.variants):
        _check_paths(variant, f"spec.variants[{index}]")
        total = sum(file.size_bytes for file in variant.files)
        if total > MAX_FILE_BYTES:
            rule = (
                f"must have files of at most {human_bytes(MAX_FILE_BYTES)} together, got {human_bytes(total)}"
            )
            raise InvalidInput(f"spec.variants[{index}].files", rule)
    formats = {variant.format for variant in spec.variants}
    if spec.serve and not formats & SERVABLE:
        names = ", ".join(sorted(formats))
        rule = f"must hold a variant that nodes can serve ({', '.join(SERVABLE)}), got {names}"
        advice = "convert the model, or set spec.serve to false to deliver the files only"
        raise InvalidInput("spec.variants", f"{rule}; {advice}", reason="UnsupportedFormat")


def plural(count: int, noun: str) -> str:
    """The count with its noun: `1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _check_paths(variant: Variant, field: str) -> None:
    paths = {file.path for file in variant.files}
    for index, file in enumerate(variant.files):
        folders = {str(parent) for parent in Path(file.path).parents}
        if inside := sorted(folders & paths):
            rule = f"{file.path!r} must not lie below {inside[0]!r}, which is a file"
            raise InvalidInput(f"{field}.files[{index}].path", rule)


def _check_variant(
    spec: EdgeModelSpec, index: int, store: ObjectStore, domains: Collection[str]
) -> tuple[VariantStatus, InvalidInput | None]:
    variant, field = spec.variants[index], f"spec.variants[{index}]"
    try:
        for position, file in enumerate(variant.files):
            where = f"{field}.files[{position}]"
            if variant.format is Format.ONNX and file.path == variant.entrypoint:
                _check_onnx(spec, variant, file, where, store, domains)
            else:
                _fetch(file, where, store, _ignore)
            for number, delta in enumerate(file.deltas):
                _fetch(delta, f"{where}.deltas[{number}]", store, _ignore)
    except InvalidInput as error:
        verdict = VariantStatus(
            name=variant.name, verdict=VariantVerdict.REJECTED, reason=error.reason, message=error.message
        )
        return verdict, error
    total = human_bytes(sum(file.size_bytes for file in variant.files))
    message = f"{plural(len(variant.files), 'file')}, {total}, as declared"
    if spec.serve and variant.format not in SERVABLE:
        message += f"; nodes of this version cannot run {variant.format} and pass over it"
    accepted = VariantStatus(
        name=variant.name, verdict=VariantVerdict.ACCEPTED, reason="Verified", message=message
    )
    return accepted, None


def _check_onnx(
    spec: EdgeModelSpec,
    variant: Variant,
    file: ModelFile,
    field: str,
    store: ObjectStore,
    domains: Collection[str],
) -> None:
    sizes = {declared.path: declared.size_bytes for declared in variant.files}
    with _temporary_file(file.size_bytes) as keep:
        _fetch(file, field, store, _writer(keep))
        keep.flush()
        view = memoryview(mmap.mmap(keep.fileno(), 0, access=mmap.ACCESS_READ))
        where = f"{field}.uri"
        if spec.serve:
            check_content(view, entrypoint=file.path, sizes=sizes, domains=domains, field=where)
        check_onnx_io(view, spec.io, field=where)


def _check_golden(spec: EdgeModelSpec, store: ObjectStore) -> int:
    golden = spec.golden
    if golden is None:
        return 0
    content = bytearray()
    _fetch(golden, "spec.golden", store, content.extend)
    return check_golden(bytes(content), spec.io)


def _check_profile(spec: EdgeModelSpec, store: ObjectStore) -> None:
    if spec.profile is None:
        return
    content = bytearray()
    _fetch(spec.profile, "spec.profile", store, content.extend)
    parse_profile(bytes(content), spec.io)


def _fetch(
    file: ModelFile | FileDelta | Golden | Profile, field: str, store: ObjectStore, sink: Sink
) -> None:
    """Streams a file into `sink`. Raises InvalidInput when its length or digest is not the declared one."""
    digest, length = hashlib.sha256(), 0
    with _saying(f"{field}.uri"), store.open(file.uri, seconds=_patience(file.size_bytes)) as download:
        if download.length is not None and download.length != file.size_bytes:
            raise _wrong_size(file, field, f"{download.length}")
        for chunk in download.chunks:
            length += len(chunk)
            if length > file.size_bytes:
                raise _wrong_size(file, field, f"more than {file.size_bytes}")
            digest.update(chunk)
            sink(chunk)
    if length != file.size_bytes:
        raise _wrong_size(file, field, f"{length}")
    if digest.hexdigest() != file.sha256:
        rule = f"the file at {file.uri} has the digest {digest.hexdigest()}, declared is {file.sha256}"
        advice = "upload the right file or correct the digest"
        raise InvalidInput(f"{field}.sha256", f"{rule}; {advice}", reason="DigestMismatch")


def _patience(size: int) -> float:
    """Seconds that a store may take for a file."""
    return _GRACE_SECONDS + size / _LEAST_BYTES_PER_SECOND


@contextlib.contextmanager
def _saying(field: str) -> Iterator[None]:
    """Names the field in refusals that name none."""
    try:
        yield
    except NotAllowed as error:
        raise (error if error.field else error.of(field)) from None


def _wrong_size(file: ModelFile | FileDelta | Golden | Profile, field: str, found: str) -> InvalidInput:
    rule = f"the file at {file.uri} has {found} bytes, declared are {file.size_bytes}"
    advice = "upload the right file or correct the size"
    return InvalidInput(f"{field}.sizeBytes", f"{rule}; {advice}", reason="SizeMismatch")


@contextlib.contextmanager
def _temporary_file(size: int) -> Iterator[BinaryIO]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        raise _no_space(
            f"{folder} has {human_bytes(free)} free, {human_bytes(size + _SPARE_BYTES)} are needed"
        )
    try:
        with tempfile.TemporaryFile(prefix="edgecanary-", dir=folder) as file:
            yield file
    except OSError as error:
        raise _no_space(f"{folder}: {error.strerror or error}") from error


def _no_space(what: str) -> Unavailable:
    text = f"the operator cannot keep the file while it checks it: {what}; give the operator more temporary space"
    return Unavailable("OperatorDiskFull", text)


def _writer(file: BinaryIO) -> Sink:
    return file.write


def _ignore(_: bytes) -> None:
    """For files of which only length and digest matter."""
