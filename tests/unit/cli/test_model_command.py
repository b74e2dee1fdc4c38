"""`edgecanary model sign` and `verify`, with files as people and CI jobs have them."""

import json
from pathlib import Path

import pytest
import yaml

from edgecanary.base.errors import InvalidInput
from edgecanary.cli.main import main
from edgecanary.clients.keyfiles import load_roots
from edgelab.paths import ROOT

EXAMPLE = ROOT / "examples" / "kubectl" / "model-2.0.0.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two keys and a manifest."""
    monkeypatch.chdir(tmp_path)
    for name in ("ci.pem", "old.pem"):
        assert main(["model", "sign", "--new-key", name]) == 0
    (tmp_path / "m.yaml").write_text(EXAMPLE.read_text())
    return tmp_path


def sign(*arguments: str) -> int:
    return main(["model", "sign", *arguments])


def verify(*arguments: str) -> int:
    return main(["model", "verify", *arguments])


def signature_in(path: Path) -> str:
    return str(yaml.safe_load(path.read_text())["spec"]["signature"])


def test_a_key_is_for_its_owner_alone_and_nothing_is_overwritten(folder: Path) -> None:
    assert (folder / "ci.pem").stat().st_mode & 0o777 == 0o600
    before = (folder / "ci.pem").read_bytes()
    assert sign("--new-key", "ci.pem") == 2
    (folder / "ci.pem.pub").unlink()
    assert sign("--new-key", "ci.pem") == 2
    assert (folder / "ci.pem").read_bytes() == before
    assert not (folder / "ci.pem.pub").exists()


def test_a_key_that_others_can_read_is_not_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "ci.pem").chmod(0o640)
    assert sign("--key", "ci.pem", "m.yaml") == 2
    assert "chmod 600" in capsys.readouterr().err


def test_signing_adds_one_line_and_changes_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sign("--key", "ci.pem", "m.yaml") == 0
    lines = capsys.readouterr().out.splitlines()
    added = [line for line in lines if line.startswith("  signature: ")]
    assert len(added) == 1
    assert [line for line in lines if line not in added] == EXAMPLE.read_text().splitlines()
    assert (folder / "m.yaml").read_text() == EXAMPLE.read_text()


def test_in_place_the_file_is_signed_and_verified_and_signed_again(folder: Path) -> None:
    (folder / "m.yaml").chmod(0o640)
    assert sign("--key", "ci.pem", "-i", "--sequence", "3", "m.yaml") == 0
    assert verify("--trust-root", "ci.pem.pub", "m.yaml") == 0
    assert sign("--key", "ci.pem", "-i", "--sequence", "4", "m.yaml") == 0
    assert (folder / "m.yaml").read_text().count("signature:") == 1
    assert (folder / "m.yaml").stat().st_mode & 0o777 == 0o640


def test_verify_says_why_a_signature_does_not_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trusted = ("--trust-root", "ci.pem.pub")
    assert verify(*trusted, "m.yaml") == 1
    sign("--key", "old.pem", "-i", "m.yaml")
    assert verify(*trusted, "m.yaml") == 1
    sign("--key", "ci.pem", "-i", "m.yaml")
    assert verify(*trusted, "--trust-root", "old.pem.pub", "--trust-threshold", "2", "m.yaml") == 1
    text = (folder / "m.yaml").read_text()
    (folder / "m.yaml").write_text(text.replace("sizeBytes: 835901", "sizeBytes: 835902"))
    assert verify(*trusted, "m.yaml") == 1
    (folder / "m.yaml").write_text(text.replace("name: file-type", "name: other-type"))
    assert verify(*trusted, "m.yaml") == 1
    told = capsys.readouterr().out
    for reason in ("Unsigned", "UnknownKey", "ThresholdNotMet", "StatementMismatch", "WrongModel"):
        assert f": {reason}: " in told


def test_an_expired_statement_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sign("--key", "ci.pem", "--days", "0.00002", "-i", "m.yaml")
    # Times are whole seconds, so this is over within three; waiting for it would be a test of the clock.
    while verify("--trust-root", "ci.pem.pub", "m.yaml") == 0:
        pass
    assert ": Expired: " in capsys.readouterr().out


def test_a_second_key_signs_the_same_statement(folder: Path) -> None:
    assert sign("--add", "--key", "old.pem", "m.yaml") == 2, "there is nothing to add to"
    sign("--key", "ci.pem", "-i", "m.yaml")
    first = json.loads(signature_in(folder / "m.yaml"))
    assert sign("--add", "--key", "old.pem", "-i", "m.yaml") == 0
    both = json.loads(signature_in(folder / "m.yaml"))
    assert both["payload"] == first["payload"]
    assert len(both["signatures"]) == 2
    keys = ("--trust-root", "ci.pem.pub", "--trust-root", "old.pem.pub")
    assert verify(*keys, "--trust-threshold", "2", "m.yaml") == 0


def test_nothing_is_added_to_a_statement_about_something_else(folder: Path) -> None:
    sign("--key", "ci.pem", "-i", "m.yaml")
    text = (folder / "m.yaml").read_text()
    (folder / "m.yaml").write_text(text.replace("sizeBytes: 835901", "sizeBytes: 835902"))
    assert sign("--add", "--key", "old.pem", "-i", "m.yaml") == 2


def test_every_model_of_a_file_is_signed_and_other_objects_stay(folder: Path) -> None:
    other = EXAMPLE.read_text().replace("name: file-type", "name: second")
    rollout = (ROOT / "examples" / "kubectl" / "rollout.yaml").read_text()
    path = folder / "all.yaml"
    path.write_text("---\n".join([EXAMPLE.read_text(), rollout, other]))
    assert sign("--key", "ci.pem", "-i", "all.yaml") == 0
    assert verify("--trust-root", "ci.pem.pub", "all.yaml") == 0
    assert path.read_text().count("signature:") == 2
    assert rollout in path.read_text()


@pytest.mark.parametrize("form", ["json", "flow"])
def test_json_and_flow_mappings_are_signed_too(folder: Path, form: str) -> None:
    body = yaml.safe_load(EXAMPLE.read_text())
    path = folder / "m.json"
    path.write_text(
        json.dumps(body, indent=2) if form == "json" else yaml.safe_dump(body, default_flow_style=True)
    )
    assert sign("--key", "ci.pem", "-i", "m.json") == 0
    assert sign("--key", "old.pem", "-i", "m.json") == 0
    assert verify("--trust-root", "old.pem.pub", "m.json") == 0
    assert path.read_text().count("payloadType") == 1


def test_a_signature_in_a_block_of_text_is_replaced(folder: Path) -> None:
    text = (
        (folder / "m.yaml").read_text().replace("spec:\n", "spec:\n  signature: >-\n    old\n    text\n", 1)
    )
    (folder / "m.yaml").write_text(text)
    assert sign("--key", "ci.pem", "-i", "m.yaml") == 0
    assert verify("--trust-root", "ci.pem.pub", "m.yaml") == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("m.yaml",), "must be given FILE and --key"),
        (("--new-key", "x.pem", "m.yaml"), "must be given alone"),
        (("--key", "nowhere.pem", "m.yaml"), "cannot be read"),
        (("--key", "ci.pem.pub", "m.yaml"), "readable for its owner alone"),
        (("--key", "ci.pem", "--sequence", "0", "m.yaml"), "must be from 1"),
        (("--key", "ci.pem", "--days", "0", "m.yaml"), "must be above 0"),
        (("--key", "ci.pem", "nowhere.yaml"), "cannot be read"),
        (("--key", "ci.pem", "rollout.yaml"), "at least one EdgeModel"),
        (("--key", "ci.pem", "nameless.yaml"), "metadata.namespace: must be set, or give --namespace"),
        (("--key", "ci.pem", "-n", "office", "m.yaml"), "is scan, and --namespace says office"),
        (("--key", "ci.pem", "broken.yaml"), "is not YAML"),
        (("--key", "ci.pem", "wrong.yaml"), "spec.version: must be set"),
    ],
)
def test_wrong_usage_is_told_with_what_to_do(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    text = EXAMPLE.read_text()
    (folder / "rollout.yaml").write_text((ROOT / "examples/kubectl/rollout.yaml").read_text())
    (folder / "nameless.yaml").write_text(text.replace("  namespace: scan\n", ""))
    (folder / "broken.yaml").write_text("{")
    (folder / "wrong.yaml").write_text(text.replace("  version: 2.0.0\n", ""))
    capsys.readouterr()
    assert sign(*arguments) == 2
    assert told in capsys.readouterr().err


class TestTrustRoots:
    """The agent's flags for keys."""

    def test_a_directory_and_files_are_read_together(self, folder: Path) -> None:
        keys = folder / "keys"
        keys.mkdir()
        (keys / "ci.pub").write_bytes((folder / "ci.pem.pub").read_bytes())
        (keys / "README").write_text("not a key")
        found = load_roots([keys, folder / "old.pem.pub"], 2)
        assert found is not None
        assert len(found.keys) == 2

    def test_no_paths_mean_no_roots(self) -> None:
        assert load_roots([], 1) is None

    @pytest.mark.parametrize(
        ("paths", "threshold", "told"),
        [
            (["ci.pem"], 1, "--trust-root: ci.pem holds a private key"),
            (["m.yaml"], 1, "--trust-root: m.yaml must hold 1 to 32 public keys"),
            (["nowhere"], 1, "--trust-root: nowhere cannot be read"),
            (["empty"], 1, "--trust-root: empty holds no file"),
            (
                ["ci.pem.pub", "ci.pem.pub"],
                2,
                "--trust-threshold: must be at most the number of different keys, 1",
            ),
            ([], 2, "--trust-threshold: must not be given without --trust-root"),
        ],
    )
    def test_what_cannot_be_trusted_keeps_the_agent_from_starting(
        self, folder: Path, paths: list[str], threshold: int, told: str
    ) -> None:
        (folder / "empty").mkdir()
        with pytest.raises(InvalidInput, match=told):
            load_roots([Path(path) for path in paths], threshold)
