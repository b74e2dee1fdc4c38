"""The recipe of the images: what can be said of it without building one."""

import io
import json
import re
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from edgelab.api import JsonObject
from edgelab.images.content import Content, Package
from edgelab.images.sbom import bill_of_materials
from edgelab.paths import ROOT
from edgelab.site.kind import CONFIG

DOCKERFILE = (ROOT / "images" / "Dockerfile").read_text()
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
EVERYWHERE = "none-any"
NOT_THERE = re.compile(r"win32|python_full_version < '3\.11")
"""Markers of what is not installed on Linux with Python 3.11."""


def stages() -> dict[str, str]:
    """The Dockerfile's stages by name."""
    parts = re.split(r"^FROM .* AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def locked(extra: str) -> Iterator[tuple[str, list[str]]]:
    """Each package that the lock has for an extra on Linux, with the names of its wheels.

    A package that the lock has in several versions, for several versions of Python, is one here.
    """
    found: dict[str, list[JsonObject]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        found.setdefault(package["name"], []).append(package)
    (own,) = found["edgecanary"]
    todo = [item["name"] for item in [*own["dependencies"], *own["optional-dependencies"][extra]]]
    seen: set[str] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        needs = [item for package in found[name] for item in package.get("dependencies", [])]
        todo.extend(item["name"] for item in needs if not NOT_THERE.search(item.get("marker", "")))
        wheels = [wheel for package in found[name] for wheel in package.get("wheels", [])]
        yield name, [wheel["url"].rsplit("/", 1)[-1] for wheel in wheels]


@pytest.mark.parametrize("extra", ["operator", "agent"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_package_of_an_image_is_a_wheel_for_both_architectures(extra: str, architecture: str) -> None:
    def fits(wheel: str) -> bool:
        python = re.search(r"-(cp311-cp311|cp3\d+-abi3)-", wheel)
        return EVERYWHERE in wheel or bool(
            python and "manylinux" in wheel and ARCHITECTURES[architecture] in wheel
        )

    lacking = [name for name, wheels in locked(extra) if not any(fits(wheel) for wheel in wheels)]
    assert lacking == []


@pytest.mark.parametrize("target", ["runtime", "operator", "agent"])
def test_the_last_stages_run_nothing_so_they_can_be_built_on_another_architecture(target: str) -> None:
    assert not re.search(r"^\s*RUN", stages()[target], re.MULTILINE)


def test_no_image_runs_as_root() -> None:
    assert "USER 65532:65532" in stages()["runtime"]
    assert "USER" not in stages()["operator"] + stages()["agent"]


def test_what_is_run_while_building_needs_no_shell() -> None:
    words = re.findall(r"^RUN (?:--\S+ |\\\n\s*)*(.)", DOCKERFILE, re.MULTILINE)
    assert words == ["["] * DOCKERFILE.count("\nRUN ")


def test_nothing_but_what_the_images_are_made_of_goes_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert "*" in lines
    assert sent == {source for copied in copies for source in copied.split()}


def test_the_cluster_of_kind_has_a_control_plane_and_three_labelled_workers() -> None:
    nodes = yaml.safe_load(CONFIG.read_text())["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker", "worker"]
    labels = [node["labels"] for node in nodes[1:]]
    assert {label["edge"] for label in labels} == {"true"}
    assert {label["hardware"] for label in labels} == {"vnni", "generic"}


def archive(path: Path, files: dict[str, str]) -> Content:
    """An image of one layer with these files."""
    layer = tar({name: text.encode() for name, text in files.items()})
    manifest = [{"Config": "config.json", "RepoTags": ["localhost/x:1"], "Layers": ["layer.tar"]}]
    path.write_bytes(
        tar({"manifest.json": json.dumps(manifest).encode(), "config.json": b"{}", "layer.tar": layer})
    )
    return Content(path)


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "opt/edgecanary/lib/python3.11/site-packages/six-1.17.0.dist-info/METADATA": (
        "Name: six\nVersion: 1.17.0\nLicense: MIT\n"
    ),
    "var/lib/dpkg/status.d/libc6": "Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\n",
    "var/lib/dpkg/status": "Package: zlib1g\nVersion: 1:1.2\nArchitecture: amd64\n\nPackage: tar\nVersion: 1.34\n",
    "opt/other/six-1.0.dist-info/METADATA": "Name: another\nVersion: 1\n",
}


def test_the_packages_of_an_image_are_read_from_where_debian_and_python_note_them(tmp_path: Path) -> None:
    assert archive(tmp_path / "x.tar", FILES).packages() == [
        Package("deb", "libc6", "2.36-9", "amd64"),
        Package("deb", "tar", "1.34"),
        Package("deb", "zlib1g", "1:1.2", "amd64"),
        Package("pypi", "six", "1.17.0", licence="MIT"),
    ]


def test_the_bill_of_the_same_image_is_the_same_text(tmp_path: Path) -> None:
    content = archive(tmp_path / "x.tar", FILES)
    bills = [bill_of_materials(content, "localhost/x:1", "00ff", 86_400) for _ in range(2)]
    assert bills[0] == bills[1]
    bill = json.loads(bills[0])
    assert bill["metadata"]["timestamp"] == "1970-01-02T00:00:00+00:00"
    assert "pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12" in [
        item["purl"] for item in bill["components"]
    ]
