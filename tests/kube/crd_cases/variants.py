"""Cases for what a model version consists of, in an EdgeModel and in a ModelRelease."""

from pydantic import JsonValue

from edgecanary.api.fields import JsonObject
from edgelab.generate.structural import as_object
from tests.kube.crd_cases.objects import get, valid_object
from tests.kube.crd_cases.shared import DIGEST, Words, decimals, digests, names, quantities, selectors, uris
from tests.kube.crd_cases.table import Table

_DATA_TYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
)
_ODD_PATHS = (
    *(
        "",
        "/etc/passwd",
        "..",
        "../model.onnx",
        "a/../../model.onnx",
        "a/..",
        ".",
        "./model.onnx",
        "a//model.onnx",
    ),
    *("a/", ".hidden", "a/.hidden", "~/model.onnx", "-rf", "C:\\model.onnx", "a\\..\\model.onnx"),
    *("model.onnx\u0000.txt", "model\n.onnx", "model onnx", "größe.onnx"),
)


def file_at(path: str) -> JsonObject:
    """A file."""
    return {"path": path, "uri": f"s3://models/{path}", "sha256": DIGEST, "sizeBytes": 1}


def variants(table: Table, field: str, words: Words) -> None:
    """The builds of a model."""
    first = f"{field}[0]"
    build = as_object(get(valid_object(table.kind), first))

    def named(number: int) -> JsonValue:
        return {**build, "name": f"v{number}"}

    table.sized(field, named, low=1, high=16)
    table.unique(field, named(0), named(1), {**build, "name": "v0", "format": "NCNN"})
    table.needs(f"{first}.name", f"{first}.format", f"{first}.files", f"{first}.entrypoint")
    table.may_lack(f"{first}.requires", f"{first}.budget")
    names(table, f"{first}.name", words)
    table.one_of(f"{first}.format", "ONNX", "TFLite", "NCNN", "TVM")
    _files(table, first, build, words)
    _requires(table, f"{first}.requires", words)
    quantities(table, f"{first}.budget.peakMemory", words)
    table.between(f"{first}.budget.latencyP95Milliseconds", 1, 3_600_000)
    table.takes(f"{first}.budget", {})


def _files(table: Table, variant: str, build: JsonObject, words: Words) -> None:
    files, entrypoint = f"{variant}.files", f"{variant}.entrypoint"

    def with_files(*paths: str) -> JsonObject:
        return {**build, "files": [file_at(path) for path in paths], "entrypoint": paths[0]}

    plain = [with_files(path) for path in ("model.onnx", "a/b/model-1_2.onnx", "_0", "a" * 255)]
    says = words.of(
        "must be a relative path of letters, digits, ., _ and -, in which each part begins with a letter"
    )
    for field in (f"{files}[0].path", entrypoint):
        table.takes(variant, *plain, at=field)
        table.refuses(field, *_ODD_PATHS, says=says)
        table.longest_refused(field, 255)
    table.refuses(
        entrypoint,
        "other.onnx",
        says="entrypoint must be the path of one of the variant's files, got other.onnx",
        at=variant,
    )
    table.takes(variant, with_files("a", "ab/c", "b"), with_files("a.d/b", "a"))
    says = "no file's path must be the folder of another file"
    table.refuses(variant, with_files("a", "a/b"), with_files("a/b/c", "a/b"), says=says)
    table.takes(variant, with_files(*(f"f{number}" for number in range(32))), at=files)
    many = with_files(*(f"f{number}" for number in range(33)))
    table.refuses(variant, many, says="must have at most 32 items", at=files)
    table.refuses(files, [], says="should have at least 1 items")
    table.refuses(files, [file_at("model.onnx")] * 2, says="Duplicate value", at=f"{files}[1]")
    table.needs(*(f"{files}[0].{name}" for name in ("path", "uri", "sha256", "sizeBytes")))
    uris(table, f"{files}[0].uri", words)
    digests(table, f"{files}[0].sha256", words)
    size = f"{files}[0].sizeBytes"
    # A file without deltas: with them it must be larger than each.
    table.takes(f"{files}[0]", *({**file_at("model.onnx"), "sizeBytes": n} for n in (1, 2**40)), at=size)
    _outside(table, size)
    _deltas(table, f"{files}[0]", words)


def _deltas(table: Table, file: str, words: Words) -> None:
    field = f"{file}.deltas"
    first = as_object(get(valid_object(table.kind), f"{field}[0]"))

    def from_file(number: int) -> JsonObject:
        return {**first, "fromSha256": f"{number:064x}"}

    table.takes(field, [])
    table.sized(field, from_file, high=4)
    table.unique(field, from_file(1), from_file(2), {**from_file(1), "format": "ZstdPatch"})
    table.needs(*(f"{field}[0].{name}" for name in ("fromSha256", "format", "uri", "sha256", "sizeBytes")))
    digests(table, f"{field}[0].fromSha256", words)
    digests(table, f"{field}[0].sha256", words)
    uris(table, f"{field}[0].uri", words, longest=512)
    table.one_of(f"{field}[0].format", "ZstdPatch", "XorZstd")
    _outside(table, f"{field}[0].sizeBytes")
    whole = as_object(get(valid_object(table.kind), file))
    table.takes(file, whole)
    for size in (1, 2**40 - 1):
        resized: JsonValue = {**first, "sizeBytes": size}
        barely: JsonObject = {**whole, "deltas": [resized], "sizeBytes": size + 1}
        table.takes(file, barely, at=f"{field}[0].sizeBytes")
        table.refuses(file, {**barely, "sizeBytes": size}, says="deltas must be smaller than the file")
    table.refuses(
        file, {**whole, "sha256": first["fromSha256"]}, says="deltas must be from other files than this one"
    )


def _outside(table: Table, field: str) -> None:
    """Sizes that no file has."""
    table.refuses(field, 0, -1, says="should be greater than or equal to 1")
    table.refuses(field, 2**40 + 1, says="should be less than or equal to ")
    table.refuses(field, "7", says='must be of type integer: "string"')


def _requires(table: Table, field: str, words: Words) -> None:
    table.takes(field, {})
    for name in ("architectures", "accelerators"):
        table.sized(f"{field}.{name}", lambda number: f"a{number}", high=16)
        table.unique(f"{field}.{name}", "amd64", "arm64", "amd64")
        table.refuses(
            f"{field}.{name}", [""], says="should be at least 1 chars long", at=f"{field}.{name}[0]"
        )
        table.refuses(f"{field}.{name}", ["a" * 64], says="may not be more than 63 ", at=f"{field}.{name}[0]")
    quantities(table, f"{field}.minMemory", words)
    selectors(table, f"{field}.nodeSelector", words)


def tensors(table: Table, field: str) -> None:
    """Inputs and outputs."""
    table.needs(field, f"{field}.inputs", f"{field}.outputs")
    for side in (f"{field}.inputs", f"{field}.outputs"):
        table.sized(side, _tensor, low=1, high=32)
        table.unique(side, _tensor(0), _tensor(1), {**_tensor(0), "dtype": "INT8"})
        first = f"{side}[0]"
        table.needs(f"{first}.name", f"{first}.dtype", f"{first}.shape")
        table.longest(f"{first}.name", 253)
        table.refuses(f"{first}.name", "", says="should be at least 1 chars long")
        table.one_of(f"{first}.dtype", *_DATA_TYPES)
        table.takes(f"{first}.shape", [], [-1], [1, 3, 224, 224])
        table.sized(f"{first}.shape", lambda _: 1, high=8)
        table.between(f"{first}.shape[0]", -1, 2**31 - 1)


def _tensor(number: int) -> JsonObject:
    return {"name": f"t{number}", "dtype": "FP32", "shape": [-1]}


def profile(table: Table, field: str, words: Words) -> None:
    """The reference of the drift metric."""
    table.may_lack(field)
    table.needs(f"{field}.uri", f"{field}.sha256", f"{field}.sizeBytes")
    uris(table, f"{field}.uri", words)
    digests(table, f"{field}.sha256", words)
    table.between(f"{field}.sizeBytes", 1, 64 * 2**10)


def golden(table: Table, field: str, words: Words) -> None:
    """Inputs with known outputs."""
    table.may_lack(field, f"{field}.relativeTolerance", f"{field}.absoluteTolerance")
    table.needs(f"{field}.uri", f"{field}.sha256", f"{field}.sizeBytes")
    uris(table, f"{field}.uri", words)
    digests(table, f"{field}.sha256", words)
    table.between(f"{field}.sizeBytes", 1, 64 * 2**20)
    decimals(table, f"{field}.relativeTolerance", words, good=("0", "0.001", "3"))
    decimals(table, f"{field}.absoluteTolerance", words, good=("0", "0.00001"))
