"""`edgecanary model profile`: counts real requests into a drift profile, and prints what to put into the manifest."""

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecanary.analysis.drift import MIN_SAMPLES, make_profile
from edgecanary.analysis.profile import parse_profile
from edgecanary.api.artifacts import ModelIO, TensorSpec
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.base.errors import EdgecanaryError, InvalidInput
from edgecanary.cli.manifests import find_only_model, read_manifests

Arrays = Mapping[str, NDArray[np.generic]]


def run(options: argparse.Namespace) -> int:
    """Writes the profile; returns the exit code."""
    spec: EdgeModelSpec = find_only_model(read_manifests(options.file), file=options.file).spec
    arrays = _load(Path(options.requests))
    inputs = _named(arrays, "input", spec.io.inputs)
    outputs = _named(arrays, "output", spec.io.outputs)
    data = _profile(inputs, outputs, spec.io)
    output = Path(options.output)
    try:
        output.write_bytes(data)
    except OSError as error:
        raise EdgecanaryError("CannotWrite", f"{output}: cannot be written: {error.strerror}") from error
    digest = hashlib.sha256(data).hexdigest()
    sys.stdout.write(f"profile: {{uri: {options.uri}, sha256: {digest}, sizeBytes: {len(data)}}}\n")
    return 0


def _profile(inputs: Arrays, outputs: Arrays, tensors: ModelIO) -> bytes:
    try:
        profile = make_profile(inputs, outputs, tensors)
    except ValueError as error:
        raise InvalidInput("--requests", str(error)) from error
    if profile.samples < MIN_SAMPLES:
        rule = f"must hold at least {MIN_SAMPLES} requests, best a few thousand; got {profile.samples}"
        raise InvalidInput("--requests", rule)
    data = profile.model_dump_json(by_alias=True, exclude_none=True).encode()
    parse_profile(data, tensors)  # as the operator will
    return data


def _load(path: Path) -> Arrays:
    """The arrays of an npz file. Raises InvalidInput."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        rule = f"{path} must be an .npz file with an array input:NAME or output:NAME for each tensor: {error}"
        raise InvalidInput("--requests", rule) from error


def _named(arrays: Arrays, side: str, tensors: tuple[TensorSpec, ...]) -> Arrays:
    """The arrays of one side by the tensors' names. Raises InvalidInput for one that is missing."""
    missing = [spec.name for spec in tensors if f"{side}:{spec.name}" not in arrays]
    if missing:
        there = ", ".join(sorted(arrays)) or "nothing"
        rule = f"must have an array {side}:{missing[0]}, as spec.io says; it has {there}"
        raise InvalidInput("--requests", rule)
    return {spec.name: arrays[f"{side}:{spec.name}"] for spec in tensors}
