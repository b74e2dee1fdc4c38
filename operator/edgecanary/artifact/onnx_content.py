"""What an ONNX file would make a runtime do besides computing: operators by domain, and files it reads.

Read before any runtime sees the file, on the operator and again on the node. Every graph is walked: those
in attributes, in functions of the model and in its training information, too. Standard library only, since
the probe's child process pays for each import.
"""

import posixpath
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from edgecanary.artifact.onnx_wire import WireReader, text
from edgecanary.base.errors import InvalidInput

DEFAULT_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Domains of operators that a model may use: the standard's two, and the runtime's own."""

MAX_LOCATION = 4096

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING = range(8)
_INSIDE: Mapping[int, Mapping[int, int]] = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _TENSOR: {},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
}
"""The messages inside each kind of message, by field number (onnx.proto)."""

_TEXTS: Mapping[int, tuple[int, ...]] = {_NODE: (4, 7), _FUNCTION: (1, 10), _TENSOR: (8,)}
"""NodeProto.op_type and domain, FunctionProto.name and domain, TensorProto.name."""
_EXTERNAL_DATA = 13  # TensorProto.external_data


@dataclass(frozen=True)
class Operator:
    """An operator that a node calls, or a function that the model brings."""

    domain: str
    name: str


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor whose values lie in another file."""

    tensor: str
    location: str
    offset: int
    length: int | None
    """None when the file says nothing: up to its end."""


@dataclass(frozen=True)
class Content:
    """What was found in a file."""

    operators: frozenset[Operator]
    functions: frozenset[Operator]
    external: tuple[ExternalTensor, ...]


def check_content(
    data: memoryview,
    *,
    entrypoint: str,
    sizes: Mapping[str, int],
    domains: Collection[str],
    field: str,
) -> Content:
    """Refuses operators of other domains and files other than those of the revision.

    `sizes` has the length of each file that the revision declares, by path; `entrypoint` is the path of this
    one. Raises InvalidInput with reason ModelInvalid, OperatorRefused or ExternalDataRefused.
    """
    content = read_content(data, field=field)
    for operator in sorted(content.operators - content.functions, key=lambda item: (item.domain, item.name)):
        if operator.domain not in domains:
            allowed = ", ".join(repr(domain) for domain in domains)
            rule = f"operator {operator.name!r} is of the domain {operator.domain!r}, allowed are {allowed}"
            advice = "export the model with standard operators, or allow the domain with --onnx-domain"
            raise InvalidInput(field, f"{rule}; {advice}", reason="OperatorRefused")
    for tensor in content.external:
        _check_external(tensor, entrypoint, sizes, field)
    return content


def read_content(data: memoryview, *, field: str) -> Content:
    """The operators, functions and external files of an ONNX model. Raises InvalidInput: ModelInvalid."""
    operators: set[Operator] = set()
    functions: set[Operator] = set()
    external: list[ExternalTensor] = []
    try:
        for kind, found in _walk(data):
            if isinstance(found, ExternalTensor):
                external.append(found)
            else:
                (operators if kind == _NODE else functions).add(found)
    except (ValueError, IndexError) as error:
        raise InvalidInput(field, f"is not an ONNX model: {error}", reason="ModelInvalid") from error
    return Content(frozenset(operators), frozenset(functions), tuple(external))


def external_path(tensor: ExternalTensor, entrypoint: str) -> str:
    """The path inside the revision's directory that a location means: it counts from the model's folder."""
    return posixpath.join(posixpath.dirname(entrypoint), tensor.location)


def _walk(data: memoryview) -> Iterator[tuple[int, Operator | ExternalTensor]]:
    """What each message of interest holds. Depth costs no stack."""
    reader = WireReader()
    waiting = [(_MODEL, data)]
    while waiting:
        kind, message = waiting.pop()
        inside, named = _INSIDE[kind], _TEXTS.get(kind, ())
        words: dict[int, str] = {}
        entries: list[memoryview] = []
        numbers = (*inside, *named, *((_EXTERNAL_DATA,) if kind == _TENSOR else ()))
        for number, part in reader.parts(message, *numbers):
            if number in inside:
                waiting.append((inside[number], part))
            elif number == _EXTERNAL_DATA:
                entries.append(part)
            elif words.setdefault(number, text(part)) != text(part):
                # Of two values one parser takes the first and another the last.
                raise ValueError(f"a field is there twice, as {words[number]!r} and {text(part)!r}")
        if kind in (_NODE, _FUNCTION):
            name, domain = named
            yield kind, Operator(words.get(domain, ""), words.get(name, ""))
        if entries:
            yield kind, _external(words.get(8, ""), entries, reader)


def _external(name: str, entries: list[memoryview], reader: WireReader) -> ExternalTensor:
    """TensorProto.external_data: pairs of key and value."""
    told: dict[str, str] = {}
    for entry in entries:
        pair = {number: text(part[:MAX_LOCATION]) for number, part in reader.parts(entry, 1, 2)}
        key = pair.get(1, "")
        if key in told:
            raise ValueError(f"external data of tensor {name!r} has the key {key!r} twice")
        told[key] = pair.get(2, "")
    length = told.get("length")
    return ExternalTensor(
        tensor=name,
        location=told.get("location", ""),
        offset=_count(name, "offset", told.get("offset", "0")),
        length=None if length is None else _count(name, "length", length),
    )


def _count(name: str, key: str, value: str) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 19:
        raise ValueError(f"external data of tensor {name!r}: {key} must be a number, got {value[:40]!r}")
    return int(value)


def _check_external(tensor: ExternalTensor, entrypoint: str, sizes: Mapping[str, int], field: str) -> None:
    path = external_path(tensor, entrypoint)
    where = f"tensor {tensor.tensor[:200]!r} reads {tensor.location[:200]!r}"
    if path not in sizes:
        declared = ", ".join(sorted(sizes))
        rule = (
            f"{where}, which must be one of the variant's files ({declared}), named from the model's folder"
        )
        advice = "declare the file in files[], or save the model with its weights inside"
        raise InvalidInput(field, f"{rule}; {advice}", reason="ExternalDataRefused")
    if path == entrypoint:
        rule = f"{where}, which is the model itself and must be another file"
        raise InvalidInput(field, rule, reason="ExternalDataRefused")
    end = tensor.offset + (tensor.length or 0)
    if end > sizes[path]:
        rule = f"{where} up to byte {end}, but the file has {sizes[path]} bytes"
        raise InvalidInput(field, rule, reason="ExternalDataRefused")
