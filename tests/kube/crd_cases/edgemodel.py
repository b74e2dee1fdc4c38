"""Cases of EdgeModel."""

from edgelab.generate.kinds import EDGE_MODEL
from tests.kube.crd_cases.shared import Words, object_names
from tests.kube.crd_cases.table import Table
from tests.kube.crd_cases.variants import golden, profile, tensors, variants

TABLE = Table(EDGE_MODEL)
_IN_WORDS = Words(plain=True)

TABLE.needs("spec", "spec.version", "spec.variants")
TABLE.may_lack("spec.serve", "spec.sourceSecretRef")
TABLE.text(
    "spec.version",
    good=("2.4.0", "v1", "2026-08-21_a", "1.0.0-rc.1+build.7", "7"),
    bad=("", "-1", "1.0.", "1 0", "1/0", "größe", "1.0\n"),
    says="must be letters, digits, ., _, + and -, with a letter or digit at both ends",
)
TABLE.longest("spec.version", 63)
TABLE.refuses("spec.version", 2.4, says='must be of type string: "number"')
TABLE.on_or_off("spec.serve")
TABLE.needs("spec.sourceSecretRef.name")
object_names(TABLE, "spec.sourceSecretRef.name", _IN_WORDS)
TABLE.longest("spec.signature", 16384)
variants(TABLE, "spec.variants", _IN_WORDS)
tensors(TABLE, "spec.io")
golden(TABLE, "spec.golden", _IN_WORDS)
profile(TABLE, "spec.profile", _IN_WORDS)
