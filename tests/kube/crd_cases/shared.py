"""Cases for the parts that several kinds have."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecanary.api.fields import JsonObject
from tests.kube.crd_cases.table import Table

DIGEST = "0123456789abcdef" * 4
DIGEST_BESIDES = (DIGEST[1:], DIGEST.upper(), "sha256:" + DIGEST[7:], "", "g" + DIGEST[1:])
ODD_NAMES = ("", "-a", "a-", "A", "a_b", "a b", "a.", ".a", "ä")


@dataclass(frozen=True)
class Words:
    """What the server says to a text of the wrong form.

    `plain`: in words, for the kinds that people write; otherwise it shows the pattern.
    """

    plain: bool

    def of(self, words: str) -> str:
        """The words themselves, or those that come with a pattern."""
        return words if self.plain else "should match"


def names(table: Table, field: str, words: Words) -> None:
    """A name inside an object."""
    says = words.of("must be lower-case letters, digits and -, with a letter or digit at both ends")
    table.text(field, good=("a", "int8-vnni", "0", "a" * 63), bad=(*ODD_NAMES, "a.b"), says=says)
    table.longest(field, 63)


def object_names(table: Table, field: str, words: Words) -> None:
    """The name of another object."""
    says = words.of("must be the name of an object: lower-case letters, digits, - and .")
    table.text(field, good=("a", "pump-anomaly", "pump.v2", "0"), bad=(*ODD_NAMES, "a..b", "../a"), says=says)
    table.longest(field, 253)


def digests(table: Table, field: str, words: Words) -> None:
    """A SHA-256 digest."""
    says = words.of("must be 64 lower-case hexadecimal digits (SHA-256)")
    table.text(field, good=(DIGEST, "0" * 64), bad=DIGEST_BESIDES, says=says)
    table.longest(field, 64)


def quantities(table: Table, field: str, words: Words) -> None:
    """A quantity of bytes."""
    good = ("256Mi", "1", "1.5Gi", "0.5Gi", "2G", "100k", "1Ti")
    bad = ("", "0", "0Mi", "0.0Gi", "-1", "256MB", "256 Mi", "256mi", "1e9", "Mi", "007", "1.", ".5Gi")
    table.text(field, good=good, bad=bad, says=words.of("must be a quantity of bytes above 0, such as 256Mi"))
    table.longest_refused(field, 32)
    table.refuses(field, 256, says='must be of type string: "integer"')


def decimals(table: Table, field: str, words: Words, *, good: Sequence[str]) -> None:
    """A decimal number in quotes; it may be negative if one of the good ones is."""
    negative = any(number.startswith("-") for number in good)
    bad = (
        "",
        ".5",
        "1.",
        "1e3",
        "NaN",
        "+Inf",
        "0,5",
        "5%",
        " 1",
        "0x10",
        *(() if negative else ("-0.5", "-1")),
    )
    says = "must be a decimal number in quotes" + ("" if negative else " that is not negative")
    table.text(field, good=good, bad=bad, says=words.of(says))
    table.longest_refused(field, 32)
    table.refuses(field, 0.75, says='must be of type string: "number"')


def uris(table: Table, field: str, words: Words, *, longest: int = 2048) -> None:
    """Where the operator finds a file."""
    good = (
        "s3://models/pump.onnx",
        "s3://my.models-1/a/b%20c.onnx",
        "https://models.example.com/pump.onnx",
        "https://[::1]:8443/pump.onnx?version=2",
        "s3://models/pumpe/größe.onnx",
    )
    bad = (
        "",
        "http://models.example.com/pump.onnx",
        "ftp://models.example.com/pump.onnx",
        "file:///etc/passwd",
        "S3://models/pump.onnx",
        "/models/pump.onnx",
        "models/pump.onnx",
        "s3://models",
        "s3://models/",
        "s3://Models/pump.onnx",
        "s3:///pump.onnx",
        "https://models.example.com",
        "https:///pump.onnx",
        "https://user:secret@models.example.com/pump.onnx",
        "https://models.example.com/pump model.onnx",
        "https://models.example.com/pump.onnx\n",
        "s3://models/pump\u0000.onnx",
        " s3://models/pump.onnx",
    )
    says = words.of("must be s3://bucket/key or https://host/path, without spaces or a user name")
    table.text(field, good=good, bad=bad, says=says)
    table.longest(field, longest, "s3://models/")


def label_keys(table: Table, field: str, words: Words) -> None:
    """The key of a label."""
    good = ("site", "a.b_c-D", "example.com/site", "x" * 63, "e" * 253 + "/" + "x" * 63)
    bad = ("", "-a", "a-", "a b", "/a", "a/", "Example.com/a", "a/b/c", "x" * 64, "e" * 254 + "/x")
    table.text(
        field,
        good=good,
        bad=bad,
        says=words.of("must be a label key, such as hardware or example.com/hardware"),
    )
    table.refuses(field, "e" * 253 + "/" + "x" * 64, says="may not be more than 317 ")


def label_values(table: Table, field: str, words: Words) -> None:
    """The value of a label."""
    bad = ("-a", "a-", "a b", "a/b", "ä")
    says = words.of(
        "must be a label value: letters, digits, -, _ and ., with a letter or digit at both ends, or empty"
    )
    table.text(field, good=("", "a", "A.b_c-d", "0"), bad=bad, says=says)
    table.longest(field, 63)


def selectors(table: Table, field: str, words: Words) -> None:
    """A label selector."""
    labels, expressions = f"{field}.matchLabels", f"{field}.matchExpressions"
    first = f"{expressions}[0]"
    table.may_lack(field, labels, expressions)
    table.takes(field, {})
    table.takes(
        labels, {}, {"edge": "true", "example.com/site": ""}, {f"k{number}": "v" for number in range(32)}
    )
    table.refuses(labels, {f"k{number}": "v" for number in range(33)}, says="must have at most 32 items")
    label_values(table, f"{labels}[edge]", words)
    if words.plain:
        for key in ("", "-a", "a/b/c", "x" * 64, "x" * 318):
            table.refuses(labels, {key: "v"}, says="every key must be a label key")
    table.sized(expressions, lambda number: {"key": f"k{number}", "operator": "Exists"}, high=16)
    table.needs(f"{first}.key", f"{first}.operator")
    label_keys(table, f"{first}.key", words)
    for operator in ("In", "NotIn"):
        table.takes(first, {"key": "a", "operator": operator, "values": ["b"]}, at=f"{first}.operator")
    for operator in ("Exists", "DoesNotExist"):
        table.takes(
            first, {"key": "a", "operator": operator}, {"key": "a", "operator": operator, "values": []}
        )
    table.refuses(
        f"{first}.operator", "in", says='Unsupported value: "in": supported values: "In", "NotIn", '
    )
    says = "values must not be empty for In and NotIn and must be empty for Exists and DoesNotExist, got the operator "
    table.refuses(first, {"key": "a", "operator": "In"}, says=f"{says}In")
    table.refuses(first, {"key": "a", "operator": "NotIn", "values": []}, says=f"{says}NotIn")
    table.refuses(first, {"key": "a", "operator": "Exists", "values": ["b"]}, says=f"{says}Exists")
    table.refuses(
        first, {"key": "a", "operator": "DoesNotExist", "values": ["b"]}, says=f"{says}DoesNotExist"
    )
    table.sized(f"{first}.values", lambda number: f"v{number}", low=0, high=32)
    label_values(table, f"{first}.values[0]", words)


def update_windows(table: Table, words: Words) -> None:
    """When nodes may switch."""
    field = "spec.updateWindows"
    table.may_lack(field)
    window: JsonObject = {"schedule": "0 2 * * *", "durationSeconds": 7200}
    table.sized(field, lambda _: window, high=16)
    table.needs(f"{field}[0].schedule", f"{field}[0].durationSeconds")
    table.may_lack(f"{field}[0].timeZone")
    table.between(f"{field}[0].durationSeconds", 60, 604_800)
    good = (
        "* * * * *",
        "*/15 0-6,22-23 1,15 JAN-MAR MON-FRI",
        "59 23 31 12 7",
        "00 02 01 01 0",
        "0-30/10 * * * SUN",
    )
    bad = (
        *("", "0 2 * *", "0 2 * * * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 32 * *", "0 2 * 13 *"),
        *(
            "0 2 * * 8",
            "0 2 * * mon",
            "@daily",
            "0  2 * * *",
            "*/0 * * * *",
            "a b c d e",
            "0 2 ? * *",
            "0 2 * * *\n",
        ),
    )
    cron = words.of(
        "must be a cron expression of five fields (minute hour day month weekday), such as 0 2 * * 1-5"
    )
    table.text(f"{field}[0].schedule", good=good, bad=bad, says=cron)
    many = ",".join(["10"] * 50)
    table.refuses(f"{field}[0].schedule", f"{many} * * * *", says="may not be more than 128 ")
    zones = ("UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+3", "EST5EDT")
    says = words.of("must be an IANA time zone, such as Europe/Berlin")
    table.text(
        f"{field}[0].timeZone", good=zones, bad=("", "+02:00", "../etc/passwd", "Europe/", "a b"), says=says
    )
    table.longest_refused(f"{field}[0].timeZone", 64)
    exists = "must be an IANA time zone that exists"
    table.refuses(f"{field}[0].timeZone", "Mars/Phobos", "Europe/berlin", "Local", says=exists)


def device_health(table: Table) -> None:
    """What a node tolerates after a switch."""
    table.may_lack(
        "spec.health",
        "spec.health.soakSeconds",
        "spec.health.maxCrashes",
        "spec.health.maxErrorPercent",
        "spec.health.maxNotFinitePercent",
        "spec.health.maxLatencyIncreasePercent",
    )
    table.between("spec.health.soakSeconds", 0, 604_800)
    table.between("spec.health.maxCrashes", 0, 100)
    table.between("spec.health.maxErrorPercent", 0, 100)
    table.between("spec.health.maxNotFinitePercent", 0, 100)
    table.between("spec.health.maxLatencyIncreasePercent", 1, 100_000)


def priority(table: Table) -> None:
    """Which model stays in a node's memory."""
    table.may_lack("spec.priority")
    table.between("spec.priority", -1000, 1000)
