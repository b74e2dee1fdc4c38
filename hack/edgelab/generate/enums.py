"""What the values of an enumeration mean, from the text below each value in its source."""

import ast
import inspect
from enum import EnumType
from itertools import pairwise

from edgecanary.api import artifacts, edgemodel, edgenode, meta, rollout, rollout_status

_MODULES = (artifacts, edgemodel, edgenode, meta, rollout, rollout_status)


def value_meanings(name: str) -> dict[str, str]:
    """The documented values of the API enumeration `name` with their meanings; empty when it has none."""
    for module in _MODULES:
        found = vars(module).get(name)
        if isinstance(found, EnumType):
            return meanings_of(found)
    return {}


def meanings_of(enumeration: EnumType) -> dict[str, str]:
    """The meanings by value. A string that follows an assignment describes the value assigned."""
    definition = ast.parse(inspect.getsource(enumeration)).body[0]
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    meanings = {}
    for assignment, text in pairwise(statements):
        if isinstance(assignment, ast.Assign) and isinstance(text, ast.Expr):
            value, meaning = ast.literal_eval(assignment.value), ast.literal_eval(text.value)
            meanings[str(value)] = str(meaning)
    return meanings
