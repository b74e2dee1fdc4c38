"""Objects of the cluster as kubectl prints them: json, yaml, names, and tables."""

import json
import sys
from collections.abc import Sequence

import yaml

from edgecanary.api.fields import JsonObject
from edgecanary.cli.output import columns
from edgecanary.clients.resources import Resource


def print_objects(bodies: Sequence[JsonObject], form: str, *, as_list: bool) -> None:
    """The objects as the server has them, without the field managers' notes. `as_list` wraps them in a List."""
    plain = [_without_managers(body) for body in bodies]
    if as_list:
        whole: JsonObject = {
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {"resourceVersion": ""},
            "items": [*plain],
        }
        print_body(whole, form)
    else:
        print_body(plain[0], form)


def print_body(body: JsonObject, form: str) -> None:
    """One object as `json` or `yaml`."""
    if form == "json":
        sys.stdout.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
    else:
        yaml.safe_dump(body, sys.stdout, sort_keys=False, allow_unicode=True)


def print_names(resource: Resource, names: Sequence[str]) -> None:
    """The objects as kubectl names them: `rollout.edgecanary.dev/pump`."""
    for name in names:
        sys.stdout.write(f"{qualified(resource, name)}\n")


def qualified(resource: Resource, name: str) -> str:
    """`rollout.edgecanary.dev/pump`."""
    return f"{resource.kind.lower()}.{resource.group}/{name}"


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table with columns as wide as they must be."""
    for line in columns([head, *rows]):
        sys.stdout.write(f"{line}\n")


def _without_managers(body: JsonObject) -> JsonObject:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict):
        return body
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**body, "metadata": kept}
