"""What a file is, known without any model: from its name, and checked against its content.

The answers are names in the file-type model's own vocabulary. A file whose content does not bear out its name
gets no answer, so a label is never a guess.
"""

import ast
import csv
import json
import re
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

import onnx

MIN_BYTES = 64
MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Rule:
    """One file type: its label, the names it goes by and how its content is checked."""

    label: str
    names: tuple[str, ...]
    """File name suffixes with their dot, or whole file names."""
    check: Callable[[bytes], bool]


def known_label(path: PurePath, content: bytes) -> str | None:
    """The type of a file, or None when its name says nothing or its content contradicts its name."""
    rule = rule_for(path)
    return rule.label if rule and rule.check(content) else None


def rule_for(path: PurePath) -> Rule | None:
    """The rule that the file's name calls for."""
    return _BY_NAME.get(path.suffix or path.name)


def _starts_with(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda content: content.startswith(prefixes)


def _matches(*patterns: str) -> Callable[[bytes], bool]:
    """Text in which every pattern occurs."""
    compiled = [re.compile(pattern, re.MULTILINE | re.IGNORECASE) for pattern in patterns]

    def check(content: bytes) -> bool:
        text = _text(content)
        return text is not None and all(pattern.search(text) for pattern in compiled)

    return check


def _text(content: bytes) -> str | None:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_python(content: bytes) -> bool:
    """Source with a statement that is not a bare expression or assignment: other languages parse as those."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError):
        return False
    told = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    return any(isinstance(statement, told) for statement in tree.body)


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict | list)
    except (ValueError, RecursionError):
        return False


def _is_toml(content: bytes) -> bool:
    text = _text(content)
    try:
        return text is not None and bool(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return False


def _is_csv(content: bytes) -> bool:
    """At least three rows, all of the same two columns or more."""
    text = _text(content)
    if text is None:
        return False
    try:
        widths = [len(row) for row in csv.reader(text.splitlines())]
    except csv.Error:
        return False
    return len(widths) >= 3 and widths[0] >= 2 and len(set(widths)) == 1


def _is_onnx(content: bytes) -> bool:
    try:
        onnx.checker.check_model(content)
    except (onnx.checker.ValidationError, ValueError):
        return False
    return True


RULES: tuple[Rule, ...] = (
    Rule("bmp", (".bmp",), _starts_with(b"BM")),
    Rule("c", (".c",), _matches(r"^\s*#\s*(include|define|if)", r";\s*$")),
    Rule(
        "cpp",
        (".cc", ".cpp", ".cxx"),
        _matches(r"^\s*#\s*include", r"\w::\w|^\s*(namespace|template|class)\b"),
    ),
    Rule("css", (".css",), _matches(r"[\w.#*\])]\s*\{[^{}]*:[^{}]*\}")),
    Rule("csv", (".csv", "RECORD"), _is_csv),
    Rule("elf", (".so",), _starts_with(b"\x7fELF")),
    Rule("fortran", (".f90", ".f95"), _matches(r"^\s*(module|program|subroutine|function)\b", r"^\s*end\b")),
    Rule("gif", (".gif",), _starts_with(b"GIF8")),
    Rule("gzip", (".gz",), _starts_with(b"\x1f\x8b\x08")),
    Rule("html", (".html",), _matches(r"<html|<!doctype html", r"</html>")),
    Rule("ini", (".ini", ".cfg"), _matches(r"^\[[^\]\n]+\]\s*$", r"^[\w.-]+\s*=")),
    Rule("javascript", (".js",), _matches(r"\b(function|const|var|let)\b", r"[;}]\s*$")),
    Rule("jpeg", (".jpg", ".jpeg"), _starts_with(b"\xff\xd8\xff")),
    Rule("json", (".json",), _is_json),
    Rule("markdown", (".md",), _matches(r"^#{1,3} \w", r"\]\(|^```|^\s*[-*] \w")),
    Rule("npy", (".npy",), _starts_with(b"\x93NUMPY")),
    Rule("npz", (".npz",), _starts_with(b"PK\x03\x04")),
    Rule("onnx", (".onnx",), _is_onnx),
    Rule("pem", (".pem",), _starts_with(b"-----BEGIN ")),
    Rule("png", (".png",), _starts_with(b"\x89PNG\r\n")),
    Rule("proto", (".proto",), _matches(r"^\s*syntax\s*=\s*\"proto[23]\"", r"^\s*(message|service|enum)\b")),
    Rule("python", (".py",), _is_python),
    Rule("rst", (".rst",), _matches(r"^\S.*\n(=|-|~|\^){4,}$", r"^\.\. [\w-]+::|``\w")),
    Rule("shell", (".sh",), _starts_with(b"#!/bin/sh", b"#!/bin/bash", b"#!/usr/bin/env bash")),
    Rule("toml", (".toml",), _is_toml),
    Rule("wav", (".wav",), _starts_with(b"RIFF")),
    Rule("yaml", (".yaml", ".yml"), _matches(r"^[\w-]+:(\s|$)", r"^\s+\S")),
    Rule("zip", (".zip",), _starts_with(b"PK\x03\x04")),
)

_BY_NAME = {name: rule for rule in RULES for name in rule.names}
