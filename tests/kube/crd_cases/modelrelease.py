"""Cases of ModelRelease, which the operator writes: patterns are shown as patterns."""

from pydantic import JsonValue

from edgelab.generate.kinds import MODEL_RELEASE
from tests.kube.crd_cases.shared import (
    Words,
    device_health,
    digests,
    label_keys,
    label_values,
    object_names,
    priority,
    selectors,
    update_windows,
)
from tests.kube.crd_cases.table import Table
from tests.kube.crd_cases.variants import golden, profile, tensors, variants

TABLE = Table(MODEL_RELEASE)
_AS_PATTERNS = Words(plain=False)
_BAD_URLS = ("", "ftp://host/a", "s3://models/a", "http://", "https://host/a b", "https://host/a\u0000")


def _urls(field: str) -> None:
    TABLE.may_lack(field)
    good = ("http://127.0.0.1:9000/b/k?X-Amz-Signature=0f", "https://host/a")
    TABLE.text(field, good=good, bad=_BAD_URLS, says="should match")
    TABLE.longest(field, 8192, "https://h/")


def _revisions(field: str) -> None:
    """A revision statement."""
    TABLE.may_lack(f"{field}.serve", f"{field}.sourceSecretRef", f"{field}.urlsExpireAt")
    TABLE.needs(f"{field}.revision", f"{field}.version", f"{field}.variants")
    digests(TABLE, f"{field}.revision", _AS_PATTERNS)
    TABLE.longest(f"{field}.version", 63)
    TABLE.on_or_off(f"{field}.serve")
    TABLE.longest(f"{field}.signature", 16384)
    TABLE.needs(f"{field}.sourceSecretRef.name")
    object_names(TABLE, f"{field}.sourceSecretRef.name", _AS_PATTERNS)
    TABLE.takes(f"{field}.urlsExpireAt", "2026-08-22T12:00:00Z", "2026-08-22T12:00:00.123456+02:00")
    TABLE.refuses(f"{field}.urlsExpireAt", "tomorrow", "2026-08-22", says="must be of type date-time")
    variants(TABLE, f"{field}.variants", _AS_PATTERNS)
    _urls(f"{field}.variants[0].files[0].url")
    _urls(f"{field}.variants[0].files[0].deltas[0].url")
    tensors(TABLE, f"{field}.io")
    golden(TABLE, f"{field}.golden", _AS_PATTERNS)
    _urls(f"{field}.golden.url")
    profile(TABLE, f"{field}.profile", _AS_PATTERNS)
    _urls(f"{field}.profile.url")


def _rejection(number: int) -> JsonValue:
    return {"revision": f"{number:064x}", "reason": "Aborted", "time": "2026-08-22T12:00:00Z"}


TABLE.needs("spec", "spec.model", "spec.sequence")
TABLE.may_lack("spec.salt", "spec.stratifyBy")
object_names(TABLE, "spec.model", _AS_PATTERNS)
TABLE.at_least("spec.sequence", 1)
TABLE.refuses_change("spec.sequence", 7, 6, says="must not go down")
TABLE.longest("spec.salt", 253)
TABLE.may_lack("spec.stable", "spec.canary")
_revisions("spec.canary")

TABLE.at_least("spec.canary.attempt", 1)
TABLE.between("spec.canary.step", 0, 99)
TABLE.one_of("spec.otherwise", "Withdraw", "Keep")
TABLE.on_or_off("spec.yields")
TABLE.sized("spec.canary.cutoffs", lambda _: {"stratum": ["a"], "below": "0" * 17}, high=256)
TABLE.needs("spec.canary.cutoffs[0].stratum", "spec.canary.cutoffs[0].below")
TABLE.sized("spec.canary.cutoffs[0].stratum", lambda number: f"v{number}", high=4)
label_values(TABLE, "spec.canary.cutoffs[0].stratum[0]", _AS_PATTERNS)
TABLE.text(
    "spec.canary.cutoffs[0].below",
    good=("0" * 17, "0" + "f" * 16, "1" + "0" * 16),
    bad=("", "0" * 16, "1" + "0" * 15 + "1", "0" + "F" * 16, "2" + "0" * 16),
    says="should match",
)
TABLE.longest_refused("spec.canary.cutoffs[0].below", 17)

TABLE.sized("spec.rejected", _rejection, high=32)
TABLE.unique("spec.rejected", _rejection(0), _rejection(1), _rejection(0))
TABLE.needs("spec.rejected[0].revision", "spec.rejected[0].reason", "spec.rejected[0].time")
digests(TABLE, "spec.rejected[0].revision", _AS_PATTERNS)
TABLE.text(
    "spec.rejected[0].reason", good=("", "A", "AnalysisFailed"), bad=("failed", "A b"), says="should match"
)
TABLE.longest("spec.rejected[0].reason", 128, "A")
TABLE.longest("spec.rejected[0].message", 4096)
TABLE.longest("spec.rejected[0].version", 63)
TABLE.at_least("spec.rejected[0].attempt", 1)
TABLE.takes("spec.rejected[0].time", "2026-08-22T12:00:00Z")
TABLE.refuses("spec.rejected[0].time", "yesterday", says="must be of type date-time")

selectors(TABLE, "spec.nodeSelector", _AS_PATTERNS)
TABLE.unique("spec.stratifyBy", "hardware", "site", "hardware")
TABLE.sized("spec.stratifyBy", lambda number: f"k{number}", high=4)
label_keys(TABLE, "spec.stratifyBy[0]", _AS_PATTERNS)
update_windows(TABLE, _AS_PATTERNS)
device_health(TABLE)
priority(TABLE)
