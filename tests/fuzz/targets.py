"""What takes bytes from a wire or from a file that came over one, as functions of bytes.

A target's function returns when it took or refused its input as it should. Anything else that it raises is a
finding: an exception that callers do not expect, or a promise that was broken (`Broken`).

To add one, write a function and a row in TARGETS, and seeds for it in `tests/fuzz/seeds.py`.
"""

import asyncio
import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgecanary.agent import golden as node_golden
from edgecanary.agent import probe_task
from edgecanary.agent.installer import Delay
from edgecanary.agent.orders import decide, orders, settled_outcome
from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import Record, new_record
from edgecanary.agent.serving import decoding, encoding
from edgecanary.agent.serving.app import decode_feedback
from edgecanary.agent.serving.messages import HttpFault
from edgecanary.agent.serving.repeats import Repeats
from edgecanary.agent.tensors import shape_fits
from edgecanary.agent.trust import Offered, Trust
from edgecanary.api.artifacts import Format
from edgecanary.api.edgenode import NodeModelStatus, ProbeMeasurement
from edgecanary.api.modelrelease import ModelRelease
from edgecanary.artifact.delta import DeltaInvalid
from edgecanary.artifact.delta_apply import apply_delta
from edgecanary.artifact.envelope import BadKey, Refused, read_envelope, read_public_keys, verify
from edgecanary.artifact.golden import check_golden
from edgecanary.artifact.onnx_io import check_onnx_io, read_onnx_io
from edgecanary.artifact.signed import Surroundings, read_statement
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.clients.nodeevents import NodeEvent, ReleaseChanged, ReleasesListed
from edgecanary.clients.prometheus import Prometheus
from edgecanary.rollout.eligibility import NodeFacts
from tests.fuzz import wires
from tests.fuzz.samples import CLOCK, IO, OFFERED, OLD_FILE, SIGNED_PAYLOADS, TENSORS
from tests.unit.signing import CI, OLD, roots

CORPUS = Path(__file__).parent / "corpus"
_NODE = NodeFacts(
    name="n1",
    labels={"edge": "true", "hardware": "vnni"},
    architecture="amd64",
    memory_bytes=2**33,
    runtimes=frozenset({Format.ONNX}),
)
_KEY = ModelKey("plant", "pump")


class Broken(Exception):
    """A promise that a reader makes was broken."""


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    what: str
    """For the guide: what the bytes are, and who reads them."""
    run: Callable[[bytes], None]
    limit: int = 4096
    """The longest input that is tried, in bytes."""

    @property
    def corpus(self) -> Path:
        """Where its seeds and what was once found lie."""
        return CORPUS / self.name


def release(data: bytes) -> None:
    """A ModelRelease, as far as the node's decision and its record on disk."""
    with contextlib.suppress(EdgecanaryError):
        found = wires.release(data)
        if found is not None:
            _decide(found)


def _decide(found: ModelRelease) -> None:
    for key, order in orders([found], _NODE, {}).items():
        if "/" in str(key) or key.namespace.startswith(".") or key.name.startswith("."):
            raise Broken(f"{key} would leave the data directory")
        record = new_record(key)
        event = decide(record, order)
        settled_outcome(record, order, CLOCK.now())
        if event is not None:
            kept = record.model_copy(update={"target": order.target})
            if Record.model_validate_json(kept.model_dump_json(by_alias=True)) != kept:
                raise Broken("a record is not read as it was written")


def watch(data: bytes) -> None:
    """The lines of a watch and the answer to a list, in pieces as a network may cut them."""
    heard: list[NodeEvent] = []
    with contextlib.suppress(EdgecanaryError):
        wires.watch(data, heard.append)
    with contextlib.suppress(EdgecanaryError):
        wires.listing(data, heard.append)
    for event in heard:
        if isinstance(event, ReleasesListed):
            for found in event.releases:
                _decide(found)
        elif isinstance(event, ReleaseChanged):
            _decide(event.release)


def envelope(data: bytes) -> None:
    """A signature of a release, on a node with two keys. Nothing is ever believed that these did not sign."""
    try:
        found = read_envelope(data.decode("utf-8", "surrogateescape"))
        payload = verify(found, roots(CI, OLD).keys, threshold=1)
    except Refused:
        return
    if payload not in SIGNED_PAYLOADS:
        raise Broken("a payload was believed that no trusted key signed")
    read_statement(payload, found.payload_type)


def statement(data: bytes) -> None:
    """A statement's payload, once its signatures were found good."""
    with contextlib.suppress(Refused):
        kind = "application/vnd.edgecanary.statement.v1+json"
        stated = read_statement(data, kind)
        if stated.expires <= stated.issued or stated.sequence < 1:
            raise Broken("a statement was read that breaks its own rules")


@cache
def _trust() -> Trust:
    return Trust(roots(CI, OLD), Path("/nonexistent/trust.json"), CLOCK, _NODE)


def admission(data: bytes) -> None:
    """The node's whole answer to a release whose signature is these bytes; only what was signed is let in."""
    text = data.decode("utf-8", "surrogateescape")
    around = Surroundings(OFFERED.io, OFFERED.golden, OFFERED.profile, OFFERED.serve)
    offered = Offered(OFFERED.revision, OFFERED.variants[0], around, text)
    try:
        _trust().admit(_KEY, offered)
    except Delay:
        return
    if read_envelope(text).payload not in SIGNED_PAYLOADS:
        raise Broken("a revision was let in that no trusted key signed")


def keys(data: bytes) -> None:
    """A file with public keys."""
    with contextlib.suppress(BadKey):
        read_public_keys(data)


def npz_headers(data: bytes) -> None:
    """A golden file, as the operator checks it."""
    with contextlib.suppress(InvalidInput):
        check_golden(data, IO)


def npz(data: bytes) -> None:
    """A golden file, as the node's probe loads it."""
    handle = os.memfd_create("golden")
    try:
        os.write(handle, data)
        cases = node_golden.load(Path(f"/proc/self/fd/{handle}"), *TENSORS)
        arrays = [*cases.inputs.values(), *cases.outputs.values()]
        if sum(array.nbytes for array in arrays) > node_golden.MAX_UNPACKED_BYTES * 8:
            raise Broken("a golden file takes more memory than it may")
    except EdgecanaryError:
        return
    finally:
        os.close(handle)


def onnx(data: bytes) -> None:
    """An ONNX file's inputs and outputs, read without a runtime."""
    view = memoryview(data)
    with contextlib.suppress(InvalidInput):
        read_onnx_io(view, field="spec.variants[0].files[0]")
        check_onnx_io(view, IO, field="spec.variants[0].files[0]")


def http(data: bytes) -> None:
    """A connection to the inference port, from the first byte to the answers, in pieces."""
    wires.check_answers(_loop().run_until_complete(wires.converse(data)))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all inputs: making one takes longer than most conversations."""
    return asyncio.new_event_loop()


def infer(data: bytes) -> None:
    """The body of an inference request; the first two bytes are the length of its JSON part, 65535: none."""
    length = int.from_bytes(data[:2], "big")
    body = bytearray(data[2:])
    inputs, outputs = TENSORS
    try:
        request = decoding.decode(body, None if length == 65535 else length, inputs, outputs)
    except HttpFault as fault:
        json.dumps(fault.message)
        return
    for tensor in inputs:
        array = request.feeds[tensor.name]
        if not shape_fits(array.shape, tensor.shape):
            raise Broken(f"{tensor.name} has shape {array.shape}")
    given = {wanted.name: request.feeds["x"] for wanted in request.outputs}
    encoding.encode("m", "r", request, given)
    repeats = Repeats("r", inputs, outputs)
    for _ in range(3):
        again = repeats.decode(body, None if length == 65535 else length)
        if repeats.encode("m", again, given) != encoding.encode("m", "r", request, given):
            raise Broken("a repeated request is answered otherwise")


def feedback(data: bytes) -> None:
    """The body of a feedback request."""
    with contextlib.suppress(HttpFault):
        decode_feedback(bytearray(data))


def probe_answer(data: bytes) -> None:
    """What a probe's child process, in which a model ran, says of it."""
    told = probe_task.decode_answer(data)
    answer = told.outcome if told is not None else None
    if isinstance(answer, EdgecanaryError):
        NodeModelStatus(
            namespace="plant", name="pump", reason=answer.reason, message=answer.message
        ).to_json()
        answer.message.encode()
    elif answer is not None:
        ProbeMeasurement(
            variant="cpu",
            load_milliseconds=answer.load_milliseconds,
            latency_p95_milliseconds=answer.latency_p95_microseconds // 1000,
            peak_memory_bytes=answer.peak_memory_bytes,
        )


def prometheus(data: bytes) -> None:
    """Prometheus's answer to an instant and to a range query; the first two bytes are the HTTP status."""
    status, body = int.from_bytes(data[:2], "big"), data[2:]
    found = Prometheus("http://prometheus", timeout_seconds=1)
    wires.prometheus(found, status, body)


def delta(data: bytes) -> None:
    """A delta against a file on the node; the first two bytes are the size of the new file."""
    size = int.from_bytes(data[:2], "big")
    made = 0
    try:
        for piece in apply_delta(io.BytesIO(data[2:]), io.BytesIO(OLD_FILE), size):
            made += len(piece)
            if made > size:
                raise Broken(f"{made} bytes were made of a file of {size}")
    except DeltaInvalid:
        return
    if made != size:
        raise Broken(f"{made} bytes were made of a file of {size}")


TARGETS = (
    Target("release", "a ModelRelease, up to the node's decision and its record", release, 16384),
    Target("watch", "lists and watch events of the API server", watch, 16384),
    Target("envelope", "a signed envelope, on a node that trusts two keys", envelope),
    Target("statement", "a signed statement's payload", statement),
    Target("admission", "the node's answer to a release with this signature", admission),
    Target("keys", "files with trusted keys", keys),
    Target("npz-headers", "a golden file, as the operator checks it", npz_headers),
    Target("npz", "a golden file, as a node's probe loads it", npz),
    Target("delta", "a delta, applied to a file on the node", delta),
    Target("onnx", "an ONNX file's inputs and outputs", onnx),
    Target("http", "a connection to the inference port, up to its answers", http, 9000),
    Target("infer", "an inference request's body, JSON and binary", infer),
    Target("feedback", "a feedback request's body", feedback, 512),
    Target("probe-answer", "what a probe's child process says", probe_answer, 512),
    Target("prometheus", "Prometheus's answers", prometheus),
)
"""Every reader that is fuzzed."""
