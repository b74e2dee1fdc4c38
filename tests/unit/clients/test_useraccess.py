"""Kubeconfigs as kubectl reads them: several files, contexts, credential plugins, and what is wrong told by name."""

import json
from pathlib import Path

import pytest
import yaml

from edgecanary.api.fields import JsonObject
from edgecanary.base.clock import SystemClock
from edgecanary.base.errors import InvalidInput
from edgecanary.clients.kubeexec import CredentialSource
from edgecanary.clients.useraccess import Choice, UserAccess, find_access


def entry(name: str, section: str, **fields: object) -> JsonObject:
    return {"name": name, section: {**fields}}  # type: ignore[dict-item]


def write(path: Path, **parts: object) -> Path:
    """A kubeconfig with one of everything; `parts` replace some."""
    body = {
        "current-context": "east",
        "contexts": [entry("east", "context", cluster="c1", user="u1", namespace="plant")],
        "clusters": [entry("c1", "cluster", server="https://10.0.0.1:6443")],
        "users": [entry("u1", "user", token="t1")],
        **parts,
    }
    path.write_text(yaml.safe_dump(body))
    return path


def find(*files: Path, choice: Choice | None = None, **environ: str) -> UserAccess:
    return find_access(choice or Choice(), {"KUBECONFIG": ":".join(map(str, files)), **environ})


def test_several_files_count_as_one_and_the_first_wins(tmp_path: Path) -> None:
    one = write(tmp_path / "one", clusters=[], users=[])
    two = write(
        tmp_path / "two",
        **{
            "current-context": "west",
            "contexts": [
                entry("east", "context", cluster="c1", user="u1", namespace="other"),
                entry("west", "context", cluster="c1", user="u1"),
            ],
        },
    )
    missing = tmp_path / "missing"
    found = find(missing, one, two)
    assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "plant")
    assert find(one, two, choice=Choice(context="west")).namespace is None
    assert found.source == f"kubeconfig {missing}:{one}:{two}"


def test_a_flag_wins_over_the_variable_and_must_exist(tmp_path: Path) -> None:
    one = write(tmp_path / "one")
    other = write(tmp_path / "other", clusters=[entry("c1", "cluster", server="http://127.0.0.1:1")])
    assert find(one, choice=Choice(kubeconfig=str(other))).server == "http://127.0.0.1:1"
    with pytest.raises(InvalidInput, match="nowhere: cannot be used"):
        find(one, choice=Choice(kubeconfig=str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"current-context": "moon"}, r"has no context 'moon'; it has east"),
        ({"current-context": ""}, r"current-context is not set: choose one with --context; it has east"),
        ({"clusters": []}, r"has no cluster 'c1'"),
        ({"users": [entry("u2", "user")]}, r"has no user 'u1'; it has u2"),
        (
            {"clusters": [entry("c1", "cluster", server="10.0.0.1")]},
            r"server: must be an address such as https://",
        ),
        ({"clusters": [entry("c1", "cluster", server=7)]}, r"server: must be text, got int"),
        ({"users": "u1"}, r"users must be a list"),
        (
            {"users": [entry("u1", "user", **{"auth-provider": {}})]},
            r"auth-provider: is gone from Kubernetes",
        ),
        ({"users": [entry("u1", "user", **{"client-key-data": "%"})]}, r"client-key-data: must be base64"),
        (
            {"users": [entry("u1", "user", exec={"apiVersion": "v0", "command": "x"})]},
            r"apiVersion: must be one of",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_field(
    tmp_path: Path, parts: dict[str, object], said: str
) -> None:
    file = write(tmp_path / "config", **parts)
    with pytest.raises(InvalidInput, match=said) as raised:
        find(file)
    assert raised.value.reason == "NoClusterAccess"
    assert str(file) in raised.value.message


def test_what_is_no_yaml_is_told(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("a: [")
    with pytest.raises(InvalidInput, match="cannot be used: while parsing"):
        find(file)


def test_without_any_kubeconfig_it_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"there is no way to the API server .* set KUBECONFIG or --kubeconfig"
    ):
        find(tmp_path / "missing")


def test_impersonation_comes_from_flags_else_from_the_user(tmp_path: Path) -> None:
    file = write(tmp_path / "config", users=[entry("u1", "user", **{"as": "bob", "as-groups": ["g"]})])
    assert find(file).headers == {"Impersonate-User": "bob", "Impersonate-Group": "g"}
    assert find(file, choice=Choice(as_user="eve")).headers == {"Impersonate-User": "eve"}
    with pytest.raises(InvalidInput, match="--as-group: must come together with --as"):
        find(file, choice=Choice(as_groups=("g",)))


def test_proxies_come_from_the_cluster_else_from_the_environment(tmp_path: Path) -> None:
    file = write(tmp_path / "config")
    assert find(file).proxy == ""
    assert find(file, HTTPS_PROXY="proxy:3128").proxy == "http://proxy:3128"
    assert find(file, HTTPS_PROXY="proxy:3128", NO_PROXY="10.0.0.1").proxy == ""
    server = {"server": "https://10.0.0.1:6443", "proxy-url": "http://own:1"}
    own = write(tmp_path / "own", clusters=[entry("c1", "cluster", **server)])
    assert find(own, HTTPS_PROXY="proxy:3128").proxy == "http://own:1"


def plugin(tmp_path: Path, answer: str, code: int = 0) -> Path:
    """A kubeconfig whose user's credentials come from a program that counts its runs."""
    program = tmp_path / "login"
    script = (
        f"#!/bin/sh\necho run >> {tmp_path}/runs\nprintf '%s' \"$KUBERNETES_EXEC_INFO\" > {tmp_path}/asked\n"
    )
    program.write_text(f"{script}cat {tmp_path}/answer\nexit {code}\n")
    program.chmod(0o755)
    (tmp_path / "answer").write_text(answer)
    told = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "./login",
        "provideClusterInfo": True,
        "installHint": "get it from the shop",
    }
    return write(tmp_path / "config", users=[entry("u1", "user", exec=told)])


def answer(**status: str) -> str:
    return json.dumps(
        {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    )


def source(file: Path) -> CredentialSource:
    found = find(file).plugin
    assert found is not None
    return CredentialSource(found, SystemClock(), seconds=30)


def test_a_plugin_is_run_once_and_again_when_its_credentials_are_over(tmp_path: Path) -> None:
    file = plugin(tmp_path, answer(token="secret", expirationTimestamp="2099-01-01T00:00:00Z"))
    credentials = source(file)
    assert [credentials.get().token for _ in range(2)] == ["secret", "secret"]
    assert (tmp_path / "runs").read_text() == "run\n"
    asked = json.loads((tmp_path / "asked").read_text())
    assert asked["spec"] == {"interactive": False, "cluster": {"server": "https://10.0.0.1:6443"}}
    credentials.forget()
    (tmp_path / "answer").write_text(answer(token="new", expirationTimestamp="2001-01-01T00:00:00Z"))
    assert credentials.get().token == "new"
    credentials.get()
    assert (tmp_path / "runs").read_text() == "run\n" * 3


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 3, "login failed with exit code 3"),
        ("hello", 0, "login printed no ExecCredential"),
        (answer(), 0, "gave neither a token nor a client certificate with its key"),
        (
            '{"apiVersion": "v2", "status": {"token": "t"}}',
            0,
            "asked for client.authentication.k8s.io/v1, got 'v2'",
        ),
    ],
)
def test_a_plugin_that_fails_is_told(tmp_path: Path, text: str, code: int, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        source(plugin(tmp_path, text, code)).get()


def test_a_plugin_that_is_not_there_is_told_with_its_hint(tmp_path: Path) -> None:
    file = plugin(tmp_path, "")
    (tmp_path / "login").unlink()
    with pytest.raises(InvalidInput, match=r"there is no program .*login; get it from the shop"):
        source(file).get()


def test_credentials_are_left_out_of_texts(tmp_path: Path) -> None:
    file = plugin(tmp_path, answer(token="secret"))
    assert "secret" not in repr(source(file).get())
    assert "t1" not in repr(find(write(tmp_path / "plain")).headers)
