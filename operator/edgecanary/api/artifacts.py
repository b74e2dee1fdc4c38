"""What a model version consists of: variants, files, tensors, golden cases.

Shared by EdgeModel (what a person declares) and ModelRelease (what nodes read).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from edgecanary.api.fields import (
    LIST_ATOMIC,
    LIST_SET,
    ApiModel,
    ByteQuantity,
    Digest,
    PositiveDecimalString,
    Rule,
    ShortName,
    list_map,
    patterned,
    rules,
)
from edgecanary.api.meta import LabelSelector

MAX_FILE_BYTES = 2**40
"""The largest file that may be declared: 1 TiB."""

FilePath = Annotated[
    str,
    patterned(
        r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        "must be a relative path of letters, digits, ., _ and -, "
        "in which each part begins with a letter, a digit or _",
        max_length=255,
    ),
]
"""A relative path whose segments start with a letter, digit or underscore: `..`, absolute paths, hidden
files, NUL and backslashes cannot be written."""

_SOURCE = r"^(s3://[a-z0-9][a-z0-9.-]+[a-z0-9]/|https://[^\x00- /?#@]+/)[^\x00- ]+$"
_SOURCE_RULE = "must be s3://bucket/key or https://host/path, without spaces or a user name"

SourceUri = Annotated[str, patterned(_SOURCE, _SOURCE_RULE, max_length=2048)]
"""Where the operator finds a file: `s3://bucket/key` or `https://host/path`."""

DeltaUri = Annotated[str, patterned(_SOURCE, _SOURCE_RULE, max_length=512)]
"""The same for a delta; shorter, since there may be so many that the API server would refuse the rule."""

TensorName = Annotated[str, Field(min_length=1, max_length=253)]
Dimension = Annotated[int, Field(ge=-1, le=2**31 - 1)]


class Format(StrEnum):
    """Model formats; the node's agent must have a runtime for it."""

    ONNX = "ONNX"
    TFLITE = "TFLite"
    NCNN = "NCNN"
    TVM = "TVM"


class DataType(StrEnum):
    """Tensor element types, named as in the Open Inference Protocol v2."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"


class DeltaFormat(StrEnum):
    """How a delta says what the new file is."""

    ZSTD_PATCH = "ZstdPatch"
    """zstd with the old file as its dictionary: for files that share stretches of bytes."""
    XOR_ZSTD = "XorZstd"
    """Byte planes of old XOR new, then zstd: for weights that were trained a little further."""


class FileDelta(ApiModel):
    """A file from which a node that has an older version makes the new one, to fetch less.

    `edgecanary model delta` makes it. A node takes it when it holds the older file and the delta is smaller than
    85 % of the file; the result's digest must be the file's, else the whole file is fetched.
    """

    from_sha256: Digest = Field(description="SHA-256 of the older file, 64 lower-case hexadecimal digits.")
    format: DeltaFormat = Field(description="How the delta is made: ZstdPatch or XorZstd.")
    uri: DeltaUri = Field(description="Where the delta comes from: s3://bucket/key or https://host/path.")
    sha256: Digest = Field(description="SHA-256 of the delta's bytes, 64 lower-case hexadecimal digits.")
    size_bytes: int = Field(ge=1, le=MAX_FILE_BYTES, description="Length of the delta in bytes.")


MAX_DELTAS = 4
"""The most deltas of one file: for as many older versions."""

FILE_RULES = (
    Rule(
        "!has(self.deltas) || self.deltas.all(d, d.sizeBytes < self.sizeBytes)",
        "deltas must be smaller than the file",
    ),
    Rule(
        "!has(self.deltas) || self.deltas.all(d, d.fromSha256 != self.sha256)",
        "deltas must be from other files than this one",
    ),
)


class ModelFile(ApiModel):
    """One file of a variant."""

    model_config = rules(*FILE_RULES)

    path: FilePath = Field(
        description="Where the file lies inside the revision's directory; a relative path without `..`."
    )
    uri: SourceUri = Field(description="Where the file comes from: s3://bucket/key or https://host/path.")
    sha256: Digest = Field(description="SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.")
    size_bytes: int = Field(ge=1, le=MAX_FILE_BYTES, description="Length of the file in bytes.")
    deltas: tuple[FileDelta, ...] = Field(
        default=(),
        max_length=MAX_DELTAS,
        description="How nodes get the file from an older one; they change nothing about what it is.",
        json_schema_extra=list_map("fromSha256"),
    )


class VariantRequirements(ApiModel):
    """What a node must have for a variant to fit. Everything named must hold."""

    architectures: tuple[Annotated[str, Field(min_length=1, max_length=63)], ...] = Field(
        default=(),
        max_length=16,
        description="CPU architectures in Go's names, such as amd64 or arm64. Empty: any.",
        json_schema_extra=LIST_SET,
    )
    min_memory: ByteQuantity | None = Field(
        default=None, description="The least memory that the node must have, such as 256Mi."
    )
    accelerators: tuple[Annotated[str, Field(min_length=1, max_length=63)], ...] = Field(
        default=(),
        max_length=16,
        description="Accelerators that the node must have, all of them.",
        json_schema_extra=LIST_SET,
    )
    node_selector: LabelSelector | None = Field(default=None, description="Labels that the Node must have.")


class VariantBudget(ApiModel):
    """What a variant may cost on a node; a probe beyond it fails."""

    peak_memory: ByteQuantity | None = Field(
        default=None, description="The most memory that loading and running the model may take."
    )
    latency_p95_milliseconds: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        alias="latencyP95Milliseconds",
        description="The most milliseconds that 95 % of the golden runs may take.",
    )


class TensorSpec(ApiModel):
    """Name, type and shape of one input or output."""

    name: TensorName = Field(description="The tensor's name in the model.")
    dtype: DataType = Field(description="Element type in the Open Inference Protocol's names.")
    shape: tuple[Dimension, ...] = Field(
        max_length=8, description="Dimensions; -1 accepts any.", json_schema_extra=LIST_ATOMIC
    )


class ModelIO(ApiModel):
    """The tensors that the model takes and gives. Every variant must have just these."""

    inputs: tuple[TensorSpec, ...] = Field(
        min_length=1, max_length=32, description="Input tensors.", json_schema_extra=list_map("name")
    )
    outputs: tuple[TensorSpec, ...] = Field(
        min_length=1, max_length=32, description="Output tensors.", json_schema_extra=list_map("name")
    )


class Golden(ApiModel):
    """Inputs with known outputs, run on every node before a revision may serve.

    The file is a NumPy `.npz` without pickles. It holds an array `input:<name>` for each input and
    `output:<name>` for each output of `io`; the first dimension counts the cases. A case is one row of the
    tensor's own first dimension where that is -1 or 1, else one whole tensor.
    """

    uri: SourceUri = Field(description="Where the file comes from: s3://bucket/key or https://host/path.")
    sha256: Digest = Field(description="SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.")
    size_bytes: int = Field(ge=1, le=64 * 2**20, description="Length of the file in bytes, 64 MiB at most.")
    relative_tolerance: PositiveDecimalString = Field(
        default="0", description="Allowed difference as a share of the expected value."
    )
    absolute_tolerance: PositiveDecimalString = Field(
        default="0.00001",
        description="Allowed difference in the output's own unit; added to the relative one.",
    )


class Profile(ApiModel):
    """What the model's inputs and outputs looked like when it was made; nodes compare live ones with it.

    The file is JSON of at most 64 KiB: for each of up to ten statistics of a tensor the edges of its bins and the
    share of the reference in each.
    """

    uri: SourceUri = Field(description="Where the file comes from: s3://bucket/key or https://host/path.")
    sha256: Digest = Field(description="SHA-256 of the file's bytes, 64 lower-case hexadecimal digits.")
    size_bytes: int = Field(ge=1, le=64 * 2**10, description="Length of the file in bytes, 64 KiB at most.")


VARIANT_RULES = (
    Rule(
        "self.files.exists(f, f.path == self.entrypoint)",
        "entrypoint must be the path of one of the variant's files",
        "self.entrypoint",
    ),
    Rule(
        "self.files.all(f, !self.files.exists(g, g.path.startsWith(f.path + '/')))",
        "no file's path must be the folder of another file",
    ),
)


class Variant(ApiModel):
    """One build of the model for one class of hardware. A node takes the first variant that fits."""

    model_config = rules(*VARIANT_RULES)

    name: ShortName = Field(description="The variant's name, unique in the model.")
    format: Format = Field(description="The file format, which decides the runtime.")
    files: tuple[ModelFile, ...] = Field(
        min_length=1,
        max_length=32,
        description="The files that make up the variant.",
        json_schema_extra=list_map("path"),
    )
    entrypoint: FilePath = Field(description="The file that the runtime loads.")
    requires: VariantRequirements | None = Field(
        default=None, description="What a node must have for this variant. Absent: every node fits."
    )
    budget: VariantBudget | None = Field(default=None, description="What the variant may cost on a node.")
