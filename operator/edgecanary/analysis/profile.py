"""Drift profiles: which statistics of a model's tensors are watched, in which bins, and the reference's shares.

A profile is bounded JSON: at most ten features with at most ten bins each. Every value falls into one bin: up
to the first edge, up to the second, …, above the last, and one for what is no finite number.
"""

import math
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from edgecanary.api.artifacts import DataType, ModelIO, TensorSpec
from edgecanary.api.fields import ApiModel
from edgecanary.base.errors import InvalidInput

FIELD = "spec.profile"
MAX_FEATURES = 10
MAX_EDGES = 8
MAX_BYTES = 64 * 2**10

_SUM_TOLERANCE = 0.001
_MAX_ELEMENT = 2**31 - 1


class Source(StrEnum):
    """Where a feature's tensor is."""

    INPUT = "Input"
    OUTPUT = "Output"


class Statistic(StrEnum):
    """What is measured of a tensor in one request."""

    MEAN = "Mean"
    STD = "Std"
    MIN = "Min"
    MAX = "Max"
    ZERO_SHARE = "ZeroShare"
    """The share of its elements that are 0."""
    RMS = "Rms"
    """Its norm, divided by the square root of its length."""
    CONFIDENCE = "Confidence"
    """An output's largest element: the score of the class that won."""
    ELEMENT = "Element"
    """One element by its position."""


Edge = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Feature(ApiModel):
    """One statistic of one tensor with its reference."""

    model_config = ConfigDict(**ApiModel.model_config, hide_input_in_errors=True)

    source: Source
    tensor: str = Field(min_length=1, max_length=253)
    statistic: Statistic
    element: int | None = Field(default=None, ge=0, le=_MAX_ELEMENT)
    edges: tuple[Edge, ...] = Field(min_length=1, max_length=MAX_EDGES)
    """Upper edges of the bins, growing; a value on an edge belongs to the bin below it."""
    shares: tuple[Share, ...] = Field(min_length=3, max_length=MAX_EDGES + 2)
    """Of the reference in each bin; the last is for what is no finite number."""

    @property
    def name(self) -> str:
        """How its metrics are called."""
        which = "" if self.element is None else str(self.element)
        return f"{self.tensor}.{self.statistic}{which}"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must grow")
        if len(self.shares) != len(self.edges) + 2:
            raise ValueError(
                f"shares must be {len(self.edges) + 2}, two more than edges, got {len(self.shares)}"
            )
        if not math.isclose(sum(self.shares), 1.0, abs_tol=_SUM_TOLERANCE):
            raise ValueError(f"shares must sum up to 1, got {sum(self.shares):.6g}")
        if (self.element is not None) != (self.statistic is Statistic.ELEMENT):
            raise ValueError("element must be given for the statistic Element, and only for it")
        if self.statistic is Statistic.CONFIDENCE and self.source is not Source.OUTPUT:
            raise ValueError("Confidence must be of an output")
        return self


class DriftProfile(ApiModel):
    """The reference of one model."""

    model_config = ConfigDict(**ApiModel.model_config, hide_input_in_errors=True)

    format_version: Literal[1]
    samples: int = Field(ge=1, le=10**12)
    """How many requests the shares were counted from: few mean that they are uncertain themselves."""
    features: tuple[Feature, ...] = Field(min_length=1, max_length=MAX_FEATURES)

    @model_validator(mode="after")
    def _check(self) -> Self:
        keys = [(feature.source, feature.name) for feature in self.features]
        if len(set(keys)) != len(keys):
            raise ValueError("features must differ in tensor, statistic or element")
        return self


def parse_profile(data: bytes, tensors: ModelIO) -> DriftProfile:
    """Reads a profile for a model with these tensors. Raises InvalidInput naming what is wrong."""
    if len(data) > MAX_BYTES:
        raise _invalid(f"must be at most {MAX_BYTES} bytes, got {len(data)}")
    try:
        profile = DriftProfile.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _invalid(f"{place}: {first['msg']}") from error
    for index, feature in enumerate(profile.features):
        _check_tensor(index, feature, tensors)
    return profile


def _check_tensor(index: int, feature: Feature, tensors: ModelIO) -> None:
    specs = tensors.inputs if feature.source is Source.INPUT else tensors.outputs
    spec: TensorSpec | None = next((spec for spec in specs if spec.name == feature.tensor), None)
    side = feature.source.lower()
    if spec is None:
        known = ", ".join(spec.name for spec in specs)
        raise _invalid(f"features.{index}.tensor: {feature.tensor!r} must be an {side} of spec.io: {known}")
    if spec.dtype is DataType.BYTES:
        raise _invalid(f"features.{index}.tensor: {side} {spec.name!r} must hold numbers, it holds texts")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(FIELD, message, reason="ProfileInvalid")
