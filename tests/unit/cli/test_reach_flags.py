"""What the flags of tenancy and reach mean, for both programs."""

import argparse
from pathlib import Path

import pytest

from edgecanary.base.errors import InvalidInput
from edgecanary.cli import agent, operator
from edgecanary.cli.flags import Flags
from edgecanary.cli.reach import add_flags, to_tenancy
from edgecanary.clients.tenancy import Tenancy


def tenancy(*words: str, in_pod: bool = False, **environ: str) -> Tenancy:
    parser = argparse.ArgumentParser()
    add_flags(Flags(parser, environ))
    return to_tenancy(parser.parse_args(words), in_pod=in_pod)


def test_a_program_that_is_started_by_hand_may_use_the_loopback() -> None:
    found = tenancy()
    assert found.local.loopback
    assert found.file is None


def test_in_a_pod_and_with_rules_it_may_not_unless_it_is_told_to() -> None:
    assert not tenancy(in_pod=True).local.loopback
    assert not tenancy("--tenancy-file", "/etc/rules").local.loopback
    assert tenancy("--loopback", "allow", in_pod=True).local.loopback
    assert not tenancy("--loopback", "refuse").local.loopback
    assert not tenancy(EDGECANARY_LOOPBACK="refuse").local.loopback


def test_hosts_are_named_by_flags_or_a_variable() -> None:
    wanted = ["127.0.0.1:9000", "cache.local"]
    assert [str(rule) for rule in tenancy(EDGECANARY_ALLOW_HOST=",".join(wanted)).local.hosts] == wanted
    given = tenancy("--allow-host", wanted[0], "--allow-host", wanted[1])
    assert [str(rule) for rule in given.local.hosts] == wanted


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--loopback", "maybe"), "--loopback: must be one of refuse, allow, got 'maybe'"),
        (("--allow-host", "http://a"), "--allow-host: must be a host"),
        (("--allow-host", "127.1"), "--allow-host: must spell an IPv4 address"),
    ],
)
def test_a_bad_flag_is_named(words: tuple[str, ...], rule: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tenancy(*words)
    assert rule in str(caught.value)


def test_a_file_that_is_not_there_closes_everything_and_ends_no_program() -> None:
    assert "cannot be read" in tenancy("--tenancy-file", "/nowhere/rules").of("plant").problem


def test_operator_and_agent_take_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    parsers = argparse.ArgumentParser().add_subparsers()
    operator.add_parser(parsers)
    agent.add_parser(parsers)
    options = parsers.choices["agent"].parse_args(["--server", "http://127.0.0.1:1", "--tenancy-file", "/x"])
    found = agent.to_settings(options).tenancy
    assert found.file is not None
    assert found.file.path == Path("/x")
    assert not found.local.loopback
    by_hand = parsers.choices["agent"].parse_args(["--server", "http://127.0.0.1:1"])
    assert agent.to_settings(by_hand).tenancy.local.loopback
    assert parsers.choices["operator"].parse_args(["--loopback", "refuse"]).loopback == "refuse"
