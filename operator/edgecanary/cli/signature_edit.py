"""Puts signatures into manifests and leaves every other character as it is: comments, order, quotes."""

import json
from collections.abc import Iterator, Mapping

import yaml
from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgecanary.base.errors import InvalidInput


def find_models(text: str) -> dict[int, JsonObject]:
    """The EdgeModels in a YAML or JSON text by the numbers of their documents, from 1. Raises InvalidInput."""
    return {number: _read(node) for number, node in _models(text)}


def with_signatures(text: str, signatures: Mapping[int, str]) -> str:
    """The text with signatures in its EdgeModels, by the numbers of their documents.

    Raises InvalidInput for a form of YAML in which that cannot be done without changing anything else.
    """
    edits = []
    for number, model in _models(text):
        if number in signatures:
            edits.append(_edit(text, number, _value(model, "spec"), signatures[number]))
    signed = text
    for start, end, insertion in sorted(edits, reverse=True):
        signed = signed[:start] + insertion + signed[end:]
    _check(text, signed, signatures)
    return signed


def _edit(text: str, number: int, spec: yaml.Node | None, signature: str) -> tuple[int, int, str]:
    """From where to where what is to be put."""
    if not isinstance(spec, yaml.MappingNode) or not spec.value:
        raise InvalidInput(f"document {number}: spec", "must be set", reason="InvalidManifest")
    old = _value(spec, "signature")
    if spec.flow_style:
        quoted = json.dumps(signature)
        if old is not None:
            return old.start_mark.index, old.end_mark.index, quoted
        start = spec.start_mark.index + 1
        return start, start, f'"signature": {quoted}, '
    quoted = "'" + signature.replace("'", "''") + "'"
    if old is not None:
        return old.start_mark.index, _end(text, old), quoted
    start = spec.value[0][0].start_mark
    return start.index, start.index, f"signature: {quoted}\n{' ' * start.column}"


def _end(text: str, node: yaml.Node) -> int:
    """Where the value ends; a block of lines is taken to end before its last line break."""
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    return start + len(text[start:end].rstrip())


def _check(before: str, after: str, signatures: Mapping[int, str]) -> None:
    """Whether the edit did what it should and nothing else."""
    wanted = find_models(before)
    for number, signature in signatures.items():
        spec = wanted[number]["spec"]
        if isinstance(spec, dict):
            spec["signature"] = signature
    try:
        others = _others(before) == _others(after)
        whole = others and find_models(after) == wanted
    except (yaml.YAMLError, InvalidInput):
        whole = False
    if not whole:
        rule = (
            "is written in a form of YAML that cannot be edited; write spec as plain lines of `field: value`"
        )
        raise InvalidInput("spec", rule, reason="InvalidManifest")


def _others(text: str) -> list[str]:
    """What each document says that is no EdgeModel."""
    return [yaml.serialize(node) for node in yaml.compose_all(text, _Loader) if _kind(node) != "EdgeModel"]


class _Loader(yaml.SafeLoader):
    """Reads what JSON can say: times stay text, as they are for the API server."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _models(text: str) -> Iterator[tuple[int, yaml.MappingNode]]:
    try:
        for number, node in enumerate(yaml.compose_all(text, _Loader), start=1):
            if isinstance(node, yaml.MappingNode) and _kind(node) == "EdgeModel":
                yield number, node
    except (yaml.YAMLError, RecursionError) as error:
        raise _not_yaml(error) from error


def _kind(node: yaml.Node) -> str:
    found = _value(node, "kind")
    return str(found.value) if isinstance(found, yaml.ScalarNode) else ""


def _value(node: yaml.Node, name: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for key, value in node.value if key.value == name), None)


def _read(node: yaml.MappingNode) -> JsonObject:
    loader = _Loader("")
    try:
        body: JsonValue = loader.construct_document(node)
    except (yaml.YAMLError, RecursionError) as error:
        raise _not_yaml(error) from error
    finally:
        loader.dispose()
    if not isinstance(body, dict):
        raise InvalidInput("manifest", "must be a Kubernetes object", reason="InvalidManifest")
    return body


def _not_yaml(error: Exception) -> InvalidInput:
    words = " ".join(str(error).split())
    return InvalidInput("manifest", f"is not YAML: {words}", reason="InvalidManifest")
