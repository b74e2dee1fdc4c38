"""What a PromQL expression names: metrics with the labels they are matched on, and labels that are kept.

Whether it is right PromQL says Prometheus; this only has to find names in the PromQL of this repository.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*(?!\w|\s*\()")
_WORD = re.compile(r"[a-zA-Z_]\w*")
_OPERATORS = frozenset({"and", "or", "unless", "bool", "offset", "by", "on", "inf", "nan"})


@dataclass(frozen=True)
class Names:
    """What an expression names."""

    matched: Mapping[str, frozenset[str]]
    """Each metric, and the labels that it is matched on."""
    grouped: frozenset[str]


def names(expression: str) -> Names:
    """The names in an expression whose variables have been filled in."""
    text = _STRING.sub('""', expression)
    matched: dict[str, frozenset[str]] = {}
    for metric, inside in _SELECTOR.findall(text):
        matched[metric] = matched.get(metric, frozenset()) | frozenset(_MATCHER.findall(inside))
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    grouped = frozenset(word for inside in _GROUPING.findall(bare) for word in _WORD.findall(inside))
    bare = _GROUPING.sub(" ", bare)
    for name in _NAME.findall(bare):
        if name.lower() not in _OPERATORS and not name[0].isdigit():
            matched.setdefault(name, frozenset())
    return Names(matched, grouped)


def problems(expression: str, catalog: Mapping[str, frozenset[str]]) -> list[str]:
    """What the expression names and nothing exposes."""
    found = names(expression)
    unknown = [f"no metric {name}" for name in found.matched if name not in catalog]
    known = {name: catalog[name] for name in found.matched if name in catalog}
    unknown += [
        f"{name} has no label {label}"
        for name, labels in known.items()
        for label in found.matched[name] - labels - {"__name__"}
    ]
    everything = frozenset(label for labels in known.values() for label in labels)
    return unknown + [f"no label {label} in {expression}" for label in found.grouped - everything]
