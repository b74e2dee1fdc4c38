"""Reading the package's source for what the guides have to name: reasons in calls, string literals."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from edgelab.paths import ROOT

PACKAGE = ROOT / "operator" / "edgecanary"


@dataclass(frozen=True)
class Literal:
    """A string in the source, the function whose call it is an argument of, and the keyword, if any."""

    value: str
    call: str = ""
    keyword: str = ""


def literals(*places: str) -> Iterator[Literal]:
    """The strings in files and folders of the package."""
    for place in places:
        path = PACKAGE / place
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            yield from _walk(ast.parse(file.read_text()))


def _walk(node: ast.AST, call: str = "", keyword: str = "") -> Iterator[Literal]:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield Literal(node.value, call, keyword)
        return
    for field, value in ast.iter_fields(node):
        inside = call
        if isinstance(node, ast.Call) and field in ("args", "keywords"):
            inside = _name(node.func)
        named = node.arg or "" if isinstance(node, ast.keyword) else ""
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, inside, named)


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
