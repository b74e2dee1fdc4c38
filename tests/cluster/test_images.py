"""What the built images are, read from their archives and run by nothing."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from edgecanary import __version__
from edgelab.images import AGENT, OPERATOR, Built, build
from edgelab.images.content import Content
from edgelab.paths import ROOT

MOST_BYTES = 250_000_000
TARGETS = (OPERATOR, AGENT)


@pytest.fixture(scope="module")
def contents(images: Mapping[str, Built]) -> Mapping[str, Content]:
    return {target: Content(built.archive) for target, built in images.items()}


def names(content: Content, kind: str) -> set[str]:
    return {
        re.sub("[-_.]+", "-", package.name).lower() for package in content.packages() if package.kind == kind
    }


def test_the_agents_image_is_small(contents: Mapping[str, Content]) -> None:
    assert contents[AGENT].uncompressed_bytes <= MOST_BYTES


def test_each_image_holds_what_its_program_needs_and_not_the_others(contents: Mapping[str, Content]) -> None:
    agent, operator = names(contents[AGENT], "pypi"), names(contents[OPERATOR], "pypi")
    assert {"edgecanary", "onnxruntime", "httptools"} <= agent
    assert {"edgecanary", "kopf", "kubernetes", "boto3"} <= operator
    assert not agent & {"kopf", "kubernetes", "boto3", "botocore", "aiohttp"}
    assert not operator & {"onnxruntime", "cramjam", "httptools"}


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_as_a_user_of_its_own_and_says_what_it_is(
    contents: Mapping[str, Content], target: str
) -> None:
    config = contents[target].configuration["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["edgecanary"]
    assert config["Cmd"] == [target]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"edgecanary {target}"
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert labels["org.opencontainers.image.revision"].removesuffix("-dirty") == commit.stdout.strip()


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_in_an_image_can_be_written_by_its_user_or_gives_it_rights(
    contents: Mapping[str, Content], target: str
) -> None:
    entries = contents[target].entries
    ours = {path: entry for path, entry in entries.items() if path.startswith("opt/edgecanary")}
    assert ours
    assert not [path for path, entry in ours.items() if entry.uid != 0]
    assert not [path for path, entry in ours.items() if not entry.issym() and entry.mode & 0o022]
    assert not [path for path, entry in entries.items() if entry.isreg() and entry.mode & 0o6000]


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_no_shell_and_no_package_manager(contents: Mapping[str, Content], target: str) -> None:
    programs = {Path(path).name for path in contents[target].entries if "bin/" in path}
    assert not programs & {"sh", "bash", "dash", "busybox", "apt", "apt-get", "dpkg", "pip", "uv"}


@pytest.mark.parametrize("target", TARGETS)
def test_the_bill_of_materials_lists_every_package_and_names_the_image(
    images: Mapping[str, Built], contents: Mapping[str, Content], target: str
) -> None:
    bill = json.loads(images[target].bill.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["bom-ref"] == f"sha256:{images[target].image_id}"
    listed = {(item["name"], item["version"]) for item in bill["components"]}
    assert listed == {(package.name, package.version) for package in contents[target].packages()}
    purls = {item["purl"].partition("@")[0] for item in bill["components"]}
    assert {"pkg:pypi/edgecanary", "pkg:deb/debian/libc6"} <= purls or "pkg:deb/ubuntu/libc6" in purls


def test_a_second_build_from_nothing_gives_the_same_image(
    images: Mapping[str, Built], tmp_path: Path
) -> None:
    (again,) = build([AGENT], tag="again", fresh=True, folder=tmp_path)
    assert again.image_id == images[AGENT].image_id
