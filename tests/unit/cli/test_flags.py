"""Flags and their environment variables; the program's entry."""

import argparse

import pytest

from edgecanary.base.errors import InvalidInput
from edgecanary.cli.flags import Flags
from edgecanary.cli.main import main


def parse(environ: dict[str, str], *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    flags = Flags(parser, environ)
    flags.text("--data-dir", default="/var/lib", help="d")
    flags.seconds("--resync-seconds", default=600, help="r")
    flags.many("--namespace", help="n", metavar="NS")
    return parser.parse_args(arguments)


def test_a_flag_wins_over_its_variable_and_the_variable_over_the_default() -> None:
    assert parse({}).data_dir == "/var/lib"
    assert parse({"EDGECANARY_DATA_DIR": "/env"}).data_dir == "/env"
    assert parse({"EDGECANARY_DATA_DIR": "/env"}, "--data-dir", "/flag").data_dir == "/flag"


def test_a_list_variable_is_separated_by_commas() -> None:
    assert parse({"EDGECANARY_NAMESPACE": "a, b"}).namespace == ["a", "b"]


@pytest.mark.parametrize("value", ["soon", "-1", "0", "inf", "nan"])
def test_a_bad_variable_is_named(value: str) -> None:
    with pytest.raises(InvalidInput, match="EDGECANARY_RESYNC_SECONDS: must be a number of seconds above 0"):
        parse({"EDGECANARY_RESYNC_SECONDS": value})


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "required: COMMAND" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("edgecanary 0.")
