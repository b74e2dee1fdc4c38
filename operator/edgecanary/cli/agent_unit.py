"""The systemd unit of the agent and its settings file, as text."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAME = "edgecanary-agent"
UNIT_FILE = f"{NAME}.service"
SETTINGS_FILE = "agent.env"
STATE_DIRECTORY = "/var/lib/edgecanary"
_BACKOFF_SINCE = 254
"""The version of systemd that knows RestartSteps."""

_HEAD = re.compile(r"\A# Written by `edgecanary agent install`; sha256 ([0-9a-f]{64})\n")

_UNIT = """\
[Unit]
Description=edgecanary node agent
Documentation=https://github.com/edgecanary/edgecanary
# Not network-online.target: a node that comes back without a network serves what it has.
After=network.target
# It is started again for ever.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
EnvironmentFile={settings}
ExecStart={command}
Restart=always
RestartSec=2
{backoff}# An event loop that hangs is ended and started anew.
WatchdogSec=60
TimeoutStartSec=120
TimeoutStopSec=30
# The kernel takes a greedy probe first, and the agent lives on.
OOMScoreAdjust=-500
OOMPolicy=continue
{memory}StateDirectory=edgecanary
StateDirectoryMode=0750
UMask=0077
{places}# What the agent and its probes never need.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
# The probe takes a user and a network of its own, and confines itself further.
RestrictNamespaces=user net ipc
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM
LimitNOFILE=8192
TasksMax=512

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class UnitChoices:
    """What the unit of one node says."""

    command: Sequence[str]
    """The program and its arguments; the first is an absolute path."""
    user: str
    settings: str
    """Path of the settings file."""
    data_dir: str = STATE_DIRECTORY
    memory_max: str | None = None
    systemd_version: int | None = None
    """None where it is not known: then only what every version knows is written."""


def unit_text(choices: UnitChoices) -> str:
    """The unit file."""
    modern = choices.systemd_version is not None and choices.systemd_version >= _BACKOFF_SINCE
    body = _UNIT.format(
        user=choices.user,
        settings=_escaped(choices.settings),
        command=" ".join(_quoted(word) for word in choices.command),
        backoff="RestartSteps=6\nRestartMaxDelaySec=60\n" if modern else "",
        memory=f"MemoryMax={choices.memory_max}\n" if choices.memory_max else "",
        places="" if choices.data_dir == STATE_DIRECTORY else f"ReadWritePaths={_quoted(choices.data_dir)}\n",
    )
    return signed(body)


def settings_text(settings: Mapping[str, str]) -> str:
    """The settings file: the agent's flags as variables."""
    lines = [f"{name}={_env_quoted(value)}" for name, value in sorted(settings.items())]
    head = "# Each flag of `edgecanary agent` is a variable here: --data-dir is EDGECANARY_DATA_DIR.\n"
    return signed(head + "".join(f"{line}\n" for line in lines))


def settings_in(text: str) -> dict[str, str]:
    """The variables in a settings file, as far as it was written here."""
    found = dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    return {
        name: re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        for name, value in found.items()
    }


def signed(body: str) -> str:
    """The text with a first line by which a later change is noticed."""
    digest = hashlib.sha256(body.encode()).hexdigest()
    return f"# Written by `edgecanary agent install`; sha256 {digest}\n{body}"


def is_untouched(text: str) -> bool:
    """Whether a file is as `edgecanary agent install` wrote it."""
    head = _HEAD.match(text)
    return head is not None and hashlib.sha256(text[head.end() :].encode()).hexdigest() == head[1]


def _escaped(word: str) -> str:
    """Without specifiers."""
    return word.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of a command line in a unit."""
    word = _escaped(word).replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _env_quoted(value: str) -> str:
    """A value in an environment file, where `$` means nothing within quotes but a backslash does."""
    if re.fullmatch(r"[\w@%+=:,./-]*", value):
        return value
    return '"' + re.sub(r'([\\"$`])', r"\\\1", value) + '"'
