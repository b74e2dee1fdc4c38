"""Field data: real files, their true types and their features."""

import io
from pathlib import Path, PurePath

import numpy as np
import pytest
from magika import Magika
from magika.types import Seekable

from edgelab.errors import LabError
from edgelab.modelzoo.features import (
    FEATURE_COUNT,
    PADDING,
    features_of_bytes,
    features_of_file,
    is_padded,
)
from edgelab.modelzoo.field import Field, Root, Share, collect
from edgelab.modelzoo.published import published_model
from edgelab.modelzoo.truth import RULES, known_label

LABELS = published_model().labels


@pytest.fixture(scope="module")
def field() -> Field:
    return collect(LABELS)


def _reference(content: bytes) -> list[int]:
    """What the model's own package reads of a file."""
    features = Magika._extract_features_from_seekable(
        Seekable(io.BytesIO(content)), 1024, 0, 1024, 256, 4096, use_inputs_at_offsets=False
    )
    return [*features.beg, *features.end]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b" \n\t\r\x0b\x0c",
        b"  front and back  ",
        b"a" * 1023,
        b"a" * 1024 + b"b",
        b" " * 5000,
        b" " * 4095 + b"edge of the block" + b"z" * 9000,
        b"z" * 9000 + b"edge of the block" + b"\n" * 4095,
        bytes(range(256)) * 40,
        b"\x00" * 3000,
    ],
)
def test_features_are_those_that_the_models_own_package_reads(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    expected = _reference(content)
    assert features_of_bytes(content).tolist() == expected
    assert features_of_file(path).tolist() == expected


def test_features_of_real_files_are_those_of_the_models_own_package(field: Field) -> None:
    folder = Path(__file__).parent
    for path in sorted(folder.glob("*.py")):
        assert features_of_file(path).tolist() == _reference(path.read_bytes())
    assert field.inputs().shape == (len(field), FEATURE_COUNT)
    assert field.inputs().min() >= 0
    assert field.inputs().max() <= PADDING


def test_only_a_file_too_short_to_fill_both_ends_is_padded() -> None:
    assert is_padded(features_of_bytes(b"x" * 1023))
    assert not is_padded(features_of_bytes(b"x" * 1024))


def test_a_name_alone_gives_no_label() -> None:
    lies = {
        "data.json": b"{'single': 'quotes'}",
        "data.csv": b"one\ntwo,three\nfour",
        "image.png": b"\x89PNX not an image",
        "library.so": b"#!/bin/sh\n",
        "model.onnx": b"\x08\x08 not a graph",
        "module.py": b"name = value\n",
        "notes.md": b"no heading at all\n",
        "page.html": b"<p>a piece</p>",
        "program.c": b"int x\n",
        "program.f90": b"print *, 1\n",
        "archive.gz": b"PK\x03\x04",
        "settings.toml": b"= nothing",
    }
    for name, content in lies.items():
        assert known_label(PurePath(name), content) is None, name


def test_content_that_bears_out_its_name_gives_the_label() -> None:
    truths = {
        "data.json": (b'{"key": [1, 2]}', "json"),
        "RECORD": (b"a,b,1\nc,d,2\ne,f,3\n", "csv"),
        "module.py": (b"import os\n\nprint(os.name)\n", "python"),
        "notes.md": (b"# Heading\n\n- [link](x)\n", "markdown"),
        "program.c": (b"#include <stdio.h>\nint x;\n", "c"),
        "program.cc": (b"#include <string>\nstd::string x;\n", "cpp"),
        "program.f90": (b"module m\nend module m\n", "fortran"),
        "archive.gz": (b"\x1f\x8b\x08\x00", "gzip"),
        "settings.toml": (b"[table]\nkey = 1\n", "toml"),
    }
    for name, (content, label) in truths.items():
        assert known_label(PurePath(name), content) == label, name


def test_a_file_without_a_telling_name_has_no_label() -> None:
    assert known_label(PurePath("LICENSE"), b"# Heading\n\n- [link](x)\n") is None


def test_every_rule_names_a_type_of_the_model_and_no_two_share_a_name() -> None:
    names = [name for rule in RULES for name in rule.names]
    assert {rule.label for rule in RULES} <= set(LABELS)
    assert len(names) == len(set(names))


def test_this_machine_has_field_data_of_many_types(field: Field) -> None:
    counts = field.counts()
    assert {"c", "cpp", "elf", "gzip", "json", "onnx", "python"} <= set(counts)
    assert min(counts.values()) >= 5
    assert max(counts.values()) <= 40
    assert sum(counts.values()) == len(field) >= 200


def test_labels_and_their_positions_agree(field: Field) -> None:
    assert [LABELS[index] for index in field.answers()] == [sample.label for sample in field]


def test_the_field_is_the_same_in_every_run(field: Field) -> None:
    again = collect(LABELS)
    assert [sample.origin for sample in again] == [sample.origin for sample in field]
    assert np.array_equal(again.inputs(), field.inputs())


def test_any_stretch_of_the_field_mixes_the_types(field: Field) -> None:
    for start in range(0, len(field) - 40, 40):
        assert len({sample.label for sample in field.samples[start : start + 40]}) >= 5


def test_no_file_both_calibrates_and_judges(field: Field) -> None:
    calibration = collect(LABELS, share=Share.CALIBRATION)
    assert not {sample.origin for sample in calibration} & {sample.origin for sample in field}


def _write_types(folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True)
    filler = "x" * 80
    texts = {
        "c": f"#include <a.h>\nint x;\n/* {filler} */\n",
        "json": f'["{filler}"]\n',
        "md": f"# Heading\n\n- [{filler}](x)\n",
        "py": f"import os\n# {filler}\n",
        "toml": f'key = "{filler}"\n',
    }
    for suffix, text in texts.items():
        for number in range(count):
            (folder / f"file{number}.{suffix}").write_text(text)


def test_a_type_with_too_few_files_is_left_out(tmp_path: Path) -> None:
    _write_types(tmp_path, 5)
    (tmp_path / "only.css").write_text("a { color: red } /* " + "x" * 80 + " */")
    field = collect(LABELS, roots=[Root("some", tmp_path, into_tests=True)])
    assert field.counts() == {"c": 5, "json": 5, "markdown": 5, "python": 5, "toml": 5}


def test_too_few_types_are_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    _write_types(tmp_path, 4)
    with pytest.raises(LabError, match=r"at least 5 files of each of 5 types are needed: run `make setup`"):
        collect(LABELS, roots=[Root("some", tmp_path, into_tests=True)])


def test_links_hidden_folders_and_files_of_unfit_size_are_passed_over(tmp_path: Path) -> None:
    _write_types(tmp_path, 5)
    _write_types(tmp_path / ".hidden", 1)
    _write_types(tmp_path / "site-packages", 1)
    (tmp_path / "link.py").symlink_to(tmp_path / "file0.py")
    (tmp_path / "short.py").write_text("import os\n")
    with (tmp_path / "huge.json").open("wb") as huge:
        huge.truncate(5 * 1024 * 1024)
    field = collect(LABELS, roots=[Root("some", tmp_path, into_tests=True)])
    assert len(field) == 25
