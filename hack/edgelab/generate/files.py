"""Writes the generated files, or checks that they are current."""

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edgecanary import __version__
from edgecanary.agent.serving import openapi
from edgecanary.api import GROUP
from edgelab.generate import argocd, chart, commands, crd, reasons, reference, semantics
from edgelab.generate.kinds import KINDS
from edgelab.paths import ROOT

CRD_FOLDER = Path("crds")
REFERENCE = Path("docs/reference/api.md")
INFERENCE = Path("docs/reference/inference.openapi.json")
REASONS = Path("docs/reference/reasons.md")
SEMANTICS = Path("docs/guides/rollout-semantics.md")


def generated_files() -> dict[Path, str]:
    """Every generated file, by its path from the checkout's root, with what it must hold."""
    files = {CRD_FOLDER / f"{GROUP}_{kind.plural}.yaml": crd.to_yaml(kind) for kind in KINDS}
    inference = json.dumps(openapi.document(__version__), indent=2) + "\n"
    return {
        **files,
        **chart.definitions(),
        REFERENCE: reference.page(KINDS),
        REASONS: reasons.page(),
        commands.PAGE: commands.page(),
        SEMANTICS: semantics.page(),
        INFERENCE: inference,
        **argocd.files(),
    }


def differences(files: Mapping[Path, str], root: Path) -> str:
    """A unified diff from what lies under `root` to what must lie there; empty when all is current."""
    parts = [_difference(root, path, wanted) for path, wanted in sorted(files.items())]
    parts += [_difference(root, path, "") for path in _surplus(files, root)]
    return "".join(parts)


def write(files: Mapping[Path, str], root: Path) -> list[Path]:
    """Write what is not current and delete definitions of kinds that are gone; answers what changed."""
    changed = []
    for path, wanted in sorted(files.items()):
        if _text(root / path) != wanted:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(wanted, encoding="utf-8")
            changed.append(path)
    for path in _surplus(files, root):
        (root / path).unlink()
        changed.append(path)
    return changed


def main(
    arguments: Sequence[str] | None = None,
    root: Path = ROOT,
    more: Callable[[], Mapping[Path, str]] = dict,
) -> int:
    """The command: write the files, or with `--check` fail with a diff when one is not current.

    `more` gives further files that are generated.
    """
    parser = argparse.ArgumentParser(
        prog="hack/generate.py",
        description="Writes all that is generated: definitions, reference, rollout situations, simulated logs.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail with a diff if a file differs"
    )
    options = parser.parse_args(arguments)
    files = {**generated_files(), **more()}
    if not options.check:
        for path in write(files, root):
            print(f"written: {path}")
        return 0
    difference = differences(files, root)
    if difference:
        print(difference, end="")
        print("Generated files are not current: run `make generate`.", file=sys.stderr)
        return 1
    return 0


def _surplus(files: Mapping[Path, str], root: Path) -> list[Path]:
    found = [
        path for folder in (CRD_FOLDER, chart.CRD_FOLDER) for path in sorted((root / folder).glob("*.yaml"))
    ]
    return [path.relative_to(root) for path in found if path.relative_to(root) not in files]


def _difference(root: Path, path: Path, wanted: str) -> str:
    lines = difflib.unified_diff(
        _text(root / path).splitlines(keepends=True),
        wanted.splitlines(keepends=True),
        f"{path} (on disk)",
        f"{path} (generated)",
    )
    return "".join(lines)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
