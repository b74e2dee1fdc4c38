"""Download addresses in a ModelRelease: kept while they are good, renewed at half of their life.

Every change of the release wakes every node, so addresses are not signed anew without need.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from edgecanary.api.modelrelease import (
    ModelReleaseSpec,
    ReleasedDelta,
    ReleasedFile,
    ReleasedGolden,
    ReleasedProfile,
    RevisionStatement,
)
from edgecanary.base.errors import EdgecanaryError

S = TypeVar("S", bound=RevisionStatement)
Sign = Callable[[str], str]
"""From a file's uri to its download address."""

SignerFor = Callable[[RevisionStatement], Sign]
"""Signing for the statement's Secret; raises EdgecanaryError when the Secret cannot be used."""


@dataclass(frozen=True)
class Addressed:
    """A release's spec with addresses; when they must be renewed, and what hindered that."""

    spec: ModelReleaseSpec
    renew_at: datetime | None = None
    problem: EdgecanaryError | None = None


@dataclass(frozen=True)
class _Signed:
    statement: RevisionStatement
    problem: EdgecanaryError | None = None


@dataclass(frozen=True)
class UrlPolicy:
    """How to get addresses, and how long they live."""

    signer_for: SignerFor
    lifetime: timedelta

    def address(
        self, wanted: ModelReleaseSpec, current: ModelReleaseSpec | None, *, now: datetime
    ) -> Addressed:
        """`wanted` with addresses: those of `current` while they are good for long enough, else new ones.

        Where signing fails, known addresses stay as they are and unknown ones are left out: what the release
        decides reaches the nodes all the same.
        """
        old = [s for s in (current.stable, current.canary) if s is not None] if current else []
        problem: EdgecanaryError | None = None
        signed: dict[str, RevisionStatement] = {}
        for name, statement in (("stable", wanted.stable), ("canary", wanted.canary)):
            if statement is not None:
                result = self._address(statement, old, now)
                signed[name] = result.statement
                problem = problem or result.problem
        spec = wanted.model_copy(update=signed)
        ends = [s.urls_expire_at for s in signed.values() if s.urls_expire_at is not None]
        renew_at = min((end - self.lifetime / 2 for end in ends), default=None)
        return Addressed(spec, renew_at, problem)

    def _address(self, statement: RevisionStatement, old: list[RevisionStatement], now: datetime) -> _Signed:
        known = next((kept for s in old if (kept := _carry_over(statement, s)) is not None), None)
        if known is not None and not self._is_aging(known, now):
            return _Signed(known)
        try:
            return _Signed(self._sign(statement, now))
        except EdgecanaryError as error:
            return _Signed(known or statement, error)

    def _is_aging(self, statement: RevisionStatement, now: datetime) -> bool:
        end = statement.urls_expire_at
        return end is not None and end - now <= self.lifetime / 2

    def _sign(self, statement: RevisionStatement, now: datetime) -> RevisionStatement:
        sign = self.signer_for(statement)
        presigned = any(uri.startswith("s3://") for uri in _uris(statement))
        end = now.replace(microsecond=0) + self.lifetime if presigned else None
        return _with_urls(statement, {uri: sign(uri) for uri in _uris(statement)}, end)


def differs(wanted: ModelReleaseSpec, current: ModelReleaseSpec | None) -> bool:
    """Whether `wanted` says anything else than `current`, its place in the sequence aside."""
    if current is None:
        return True
    return wanted.model_copy(update={"sequence": current.sequence}).to_json() != current.to_json()


def _carry_over(statement: S, old: RevisionStatement) -> S | None:
    """The statement with the addresses that `old` has for the same files; None when it lacks one."""
    if old.revision != statement.revision or old.source_secret_ref != statement.source_secret_ref:
        return None
    known = {file.uri: file.url for file in _files(old) if file.url is not None}
    if not known.keys() >= set(_uris(statement)):
        return None
    return _with_urls(statement, known, old.urls_expire_at)


def _with_urls(statement: S, urls: dict[str, str], end: datetime | None) -> S:
    variants = tuple(
        variant.model_copy(update={"files": tuple(_with_url(file, urls) for file in variant.files)})
        for variant in statement.variants
    )
    golden, profile = statement.golden, statement.profile
    if golden is not None:
        golden = golden.model_copy(update={"url": urls[golden.uri]})
    if profile is not None:
        profile = profile.model_copy(update={"url": urls[profile.uri]})
    return statement.model_copy(
        update={"variants": variants, "golden": golden, "profile": profile, "urls_expire_at": end}
    )


_Located = ReleasedFile | ReleasedDelta | ReleasedGolden | ReleasedProfile


def _with_url(file: ReleasedFile, urls: dict[str, str]) -> ReleasedFile:
    deltas = tuple(delta.model_copy(update={"url": urls[delta.uri]}) for delta in file.deltas)
    return file.model_copy(update={"url": urls[file.uri], "deltas": deltas})


def _files(statement: RevisionStatement) -> list[_Located]:
    found: list[_Located] = []
    for variant in statement.variants:
        for file in variant.files:
            found += [file, *file.deltas]
    return [*found, *(extra for extra in (statement.golden, statement.profile) if extra is not None)]


def _uris(statement: RevisionStatement) -> list[str]:
    return [file.uri for file in _files(statement)]
