"""Which namespaces may target which nodes and name which hosts: the administrator's rules.

The rules are lines of text, `NAMESPACE WHAT VALUE`, so that one ConfigMap serves admission policies, which can read
no YAML inside a string, the operator and the agents. What no line grants is not allowed.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.meta import LabelSelector, LabelSelectorRequirement
from edgecanary.api.rollout import RolloutSpec
from edgecanary.base.errors import InvalidInput, NotAllowed
from edgecanary.base.hosts import HostRule, parse_rule
from edgecanary.base.reach import ANYWHERE, NOT_GRANTED, LocalRule, Reach

GRANTS_UNREADABLE = "GrantsUnreadable"
CREDENTIALS_LABEL = "edgecanary.dev/credentials"
"""The label of a Secret that is meant for edgecanary."""
MAX_BYTES = 512 * 1024
"""The longest text of rules; a ConfigMap holds 1 MiB."""

_NOBODY = "who administers edgecanary"
_LABELLED = "labelled"
_PAIRS = re.compile(r"[^\s=,]+=[^\s=,]*(,[^\s=,]+=[^\s=,]*)*")
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_FOREIGN_SECRETS = ("kubernetes.io/", "bootstrap.kubernetes.io/", "helm.sh/")
_OWN_SECRETS = ("", "Opaque", "kubernetes.io/basic-auth")


class What(StrEnum):
    """What a rule is about."""

    NODES = "nodes"
    """Labels that a Rollout's nodeSelector must carry, as `key=value,key=value`; `*` is every Node."""
    PROMETHEUS = "prometheus"
    OBJECT_STORE = "object-store"
    DOWNLOAD = "download"
    SECRETS = "secrets"
    """`labelled`: only Secrets with the label edgecanary.dev/credentials are read."""
    CONTACT = "contact"
    """Whom to ask, in any words."""


_HOSTS = (What.PROMETHEUS, What.OBJECT_STORE, What.DOWNLOAD)


@dataclass(frozen=True)
class Rule:
    """One line: a namespace, or all whose names begin so (`team-*`, `*`), and what it gets."""

    namespace: str
    what: What
    value: str
    labels: Mapping[str, str] | None = None
    """Of a rule about nodes."""
    host: HostRule | None = None
    """Of a rule about hosts."""

    def is_for(self, namespace: str) -> bool:
        """Whether the rule is about the namespace."""
        if self.namespace.endswith("*"):
            return namespace.startswith(self.namespace[:-1])
        return namespace == self.namespace


@dataclass(frozen=True)
class Grants:
    """All rules, in the order in which they stand."""

    rules: tuple[Rule, ...] = ()

    def of(self, namespace: str) -> "Grants":
        """The rules about one namespace."""
        return Grants(tuple(rule for rule in self.rules if rule.is_for(namespace)))

    @cached_property
    def nodes(self) -> tuple[Mapping[str, str], ...]:
        """The labels of each choice of Nodes."""
        return tuple(rule.labels for rule in self.rules if rule.labels is not None)

    @cached_property
    def contact(self) -> str:
        """Whom to ask."""
        return next((rule.value for rule in self.rules if rule.what is What.CONTACT), _NOBODY)

    @property
    def gives_nothing(self) -> bool:
        """Whether no rule grants anything."""
        return not any(rule.labels is not None or rule.host is not None for rule in self.rules)

    @property
    def wants_labels(self) -> bool:
        """Whether Secrets must carry the label."""
        return any(rule.what is What.SECRETS for rule in self.rules)

    def hosts(self, *kinds: What) -> tuple[HostRule, ...]:
        """The hosts that may be named for a purpose; before that of a store a bucket's name may stand."""
        found: list[HostRule] = []
        for rule in self.rules:
            if rule.what in kinds and rule.host is not None:
                found.append(rule.host)
                if rule.what is What.OBJECT_STORE and rule.host.host != "*" and not rule.host.names_address:
                    found.append(replace(rule.host, below=True))
        return tuple(dict.fromkeys(found))


def parse_grants(text: str) -> Grants:
    """The rules in a text; empty lines and those that begin with `#` say nothing.

    Raises InvalidInput naming the first line that is no rule.
    """
    rules = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        words = line.split(maxsplit=2)
        if not words or words[0].startswith("#"):
            continue
        try:
            if not line.replace("\t", " ").isprintable():
                raise ValueError("must hold printable characters, blanks and tabs alone")
            rules.append(_rule(words))
        except ValueError as error:
            raise InvalidInput(
                f"line {number}", f"{error}, got {line[:200]!r}", reason="GrantInvalid"
            ) from error
    return Grants(tuple(rules))


def _rule(words: list[str]) -> Rule:
    if len(words) != 3:
        raise ValueError("must be NAMESPACE WHAT VALUE")
    namespace, kind, value = words[0], words[1], words[2].strip()
    if not set(namespace.removesuffix("*")) <= _NAME or len(namespace) > 64:
        raise ValueError("must begin with a namespace, the beginning of one with * behind it, or *")
    if kind not in What.__members__.values():
        raise ValueError(f"must name one of {', '.join(What)} after the namespace")
    what = What(kind)
    if what is What.NODES:
        return Rule(namespace, what, value, labels=_labels(value))
    if what in _HOSTS:
        if len(value.split()) != 1:
            raise ValueError("must name one host; write a line for each")
        return Rule(namespace, what, value, host=parse_rule(value))
    if what is What.SECRETS and value != _LABELLED:
        raise ValueError(f"must have the value {_LABELLED}")
    return Rule(namespace, what, value)


def _labels(value: str) -> dict[str, str]:
    if value == "*":
        return {}
    rule = "must name labels as key=value,key=value without blanks and each key once, or *"
    if not _PAIRS.fullmatch(value):
        raise ValueError(rule)
    pairs = [pair.partition("=") for pair in value.split(",")]
    found = {key: label for key, _, label in pairs}
    if len(found) != len(pairs):
        raise ValueError(rule)
    return found


@dataclass(frozen=True)
class Allowance:
    """What may be done for one namespace."""

    namespace: str = ""
    local: LocalRule = ANYWHERE
    granted: Grants | None = None
    """None: nothing is divided among namespaces."""
    problem: str = ""
    """Why the rules cannot be read: nothing is allowed then."""

    def reach(self, *kinds: What) -> Reach:
        """What may be connected to for a purpose, or for any of several."""
        if self.problem:
            return Reach(self.local, closed=self.problem, reason=GRANTS_UNREADABLE)
        if self.granted is None:
            return Reach(self.local)
        purpose = " or ".join(kinds)
        return Reach(
            self.local,
            self.granted.hosts(*kinds),
            purpose=purpose,
            namespace=self.namespace,
            ask=self._ask(f"{kinds[-1]} HOST"),
        )

    def node_reach(self) -> Reach:
        """What a node may connect to for files: presigned addresses lead to a store, others to a server."""
        return self.reach(What.OBJECT_STORE, What.DOWNLOAD)

    @property
    def is_divided(self) -> bool:
        """Whether namespaces have different rights at all."""
        return self.granted is not None or bool(self.problem)

    def check_rollout(self, spec: RolloutSpec) -> None:
        """Raises NotAllowed for a spec that names nodes or a Prometheus that the namespace may not."""
        self.check_nodes(spec.node_selector)
        if spec.analysis is not None:
            self.reach(What.PROMETHEUS).check(
                spec.analysis.prometheus.url, name="spec.analysis.prometheus.url"
            )

    def check_nodes(self, selector: LabelSelector) -> None:
        """Raises NotAllowed unless the selector carries all labels of a rule: then it matches those Nodes at most."""
        name = "spec.nodeSelector.matchLabels"
        granted = self._check_any(name)
        if granted is None:
            return
        carried = selector.match_labels
        if any(labels.items() <= carried.items() for labels in granted.nodes):
            return
        choices = " or ".join(_shown(labels) for labels in granted.nodes)
        rule = (
            f"must carry {choices}, which namespace {self.namespace!r} is granted"
            if choices
            else (f"namespace {self.namespace!r} is granted no nodes")
        )
        raise NotAllowed(name, f"{rule}, got {_shown(carried)}; {self._ask('nodes KEY=VALUE')}")

    def check_labels(self, labels: Mapping[str, str]) -> None:
        """Raises NotAllowed unless a Node with these labels may be targeted."""
        granted = self._check_any("")
        if granted is None or any(wanted.items() <= labels.items() for wanted in granted.nodes):
            return
        choices = " or ".join(_shown(wanted) for wanted in granted.nodes) or "none"
        rule = f"this node is not granted to namespace {self.namespace!r} (granted: nodes with {choices})"
        raise NotAllowed("", f"{rule}; {self._ask('nodes KEY=VALUE')}")

    def check_model(self, spec: EdgeModelSpec) -> None:
        """Raises NotAllowed for a file at a host that the namespace may not name."""
        reach, known = self.reach(What.DOWNLOAD), set[str]()
        self._check_any("spec.variants")
        for name, uri in _uris(spec):
            if not uri.startswith("s3://") and uri not in known:
                known.add(uri)
                reach.check(uri, name=name)

    def check_secret(self, name: str, kind: str, labels: Mapping[str, str]) -> None:
        """Raises NotAllowed for a Secret that is not meant for edgecanary, whoever names it."""
        if kind.startswith(_FOREIGN_SECRETS) and kind not in _OWN_SECRETS:
            rule = f"Secret {name} has the type {kind}, whose content is for others; make one of type Opaque"
            raise NotAllowed("", rule, reason="SecretRefused")
        if self.granted is not None and self.granted.wants_labels and CREDENTIALS_LABEL not in labels:
            rule = f"Secret {name} must carry the label {CREDENTIALS_LABEL} to be read by edgecanary"
            raise NotAllowed("", rule, reason="SecretRefused")

    def _check_any(self, name: str) -> Grants | None:
        """The namespace's rules; None where nothing is divided. Raises NotAllowed when there are none."""
        if self.problem:
            raise NotAllowed(name, self.problem, reason=GRANTS_UNREADABLE)
        if self.granted is not None and self.granted.gives_nothing:
            rule = f"namespace {self.namespace!r} has no grant: no rule names it"
            raise NotAllowed(name, f"{rule}; {self._ask('nodes KEY=VALUE')}", reason=NOT_GRANTED)
        return self.granted

    def _ask(self, line: str) -> str:
        contact = self.granted.contact if self.granted else _NOBODY
        return f"ask {contact} for the rule '{self.namespace} {line}'"


NOWHERE = LabelSelector(
    match_expressions=(
        LabelSelectorRequirement(key="edgecanary.dev/nowhere", operator="Exists"),
        LabelSelectorRequirement(key="edgecanary.dev/nowhere", operator="DoesNotExist"),
    )
)
"""Matches no Node: what a Rollout may count whose nodes are not granted."""


def refusal(check: Callable[[], object]) -> NotAllowed | None:
    """Why a check does not pass, or None."""
    try:
        check()
    except NotAllowed as error:
        return error
    return None


def _uris(spec: EdgeModelSpec) -> Iterable[tuple[str, str]]:
    """Every address in a model, with its field."""
    for extra, name in ((spec.golden, "spec.golden"), (spec.profile, "spec.profile")):
        if extra is not None:
            yield f"{name}.uri", extra.uri
    for index, variant in enumerate(spec.variants):
        for position, file in enumerate(variant.files):
            field = f"spec.variants[{index}].files[{position}]"
            yield f"{field}.uri", file.uri
            for number, delta in enumerate(file.deltas):
                yield f"{field}.deltas[{number}].uri", delta.uri


def _shown(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no labels"
