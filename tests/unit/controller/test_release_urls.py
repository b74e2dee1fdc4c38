"""Download addresses: kept while they are good, renewed at half of their life, never in the way."""

from datetime import UTC, datetime, timedelta

from edgecanary.api.artifacts import (
    DeltaFormat,
    FileDelta,
    Format,
    Golden,
    ModelFile,
    ModelIO,
    Profile,
    TensorSpec,
    Variant,
)
from edgecanary.api.edgemodel import EdgeModelSpec
from edgecanary.api.meta import LabelSelector, LocalSecretReference
from edgecanary.api.modelrelease import ModelReleaseSpec, RevisionStatement
from edgecanary.base.errors import NotFound
from edgecanary.controller.release_urls import Sign, UrlPolicy, differs
from edgecanary.rollout.statement import as_canary, state, without_urls

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LIFE = timedelta(hours=24)
TENSOR = TensorSpec(name="x", dtype="FP32", shape=(-1,))


def statement(
    revision: str,
    *,
    scheme: str = "s3://bucket",
    keys: str | None = "keys",
    drift: bool = False,
    deltas: tuple[FileDelta, ...] = (),
) -> RevisionStatement:
    file = ModelFile(
        path="m.onnx", uri=f"{scheme}/{revision}/m.onnx", sha256="a" * 64, size_bytes=9, deltas=deltas
    )
    spec = EdgeModelSpec(
        version="1",
        variants=(Variant(name="v", format=Format.ONNX, files=(file,), entrypoint="m.onnx"),),
        io=ModelIO(inputs=(TENSOR,), outputs=(TENSOR,)),
        golden=Golden(uri=f"{scheme}/{revision}/golden.npz", sha256="b" * 64, size_bytes=1),
        profile=Profile(uri=f"{scheme}/{revision}/profile.json", sha256="c" * 64, size_bytes=1)
        if drift
        else None,
        source_secret_ref=LocalSecretReference(name=keys) if keys else None,
    )
    return state(spec, revision[0] * 64)


def release(
    stable: RevisionStatement | None = None, canary: RevisionStatement | None = None, *, sequence: int = 1
) -> ModelReleaseSpec:
    return ModelReleaseSpec(
        model="pump",
        sequence=sequence,
        stable=stable,
        canary=as_canary(canary, {(): 5}, 1) if canary else None,
        node_selector=LabelSelector(),
    )


class Signer:
    """Signs by counting, and can be out of order."""

    def __init__(self) -> None:
        self.signed: list[str] = []
        self.broken = False

    def __call__(self, wanted: RevisionStatement) -> Sign:
        if self.broken:
            raise NotFound("SecretNotFound", f"there is no Secret {wanted.source_secret_ref}")

        def sign(uri: str) -> str:
            self.signed.append(uri)
            return f"https://store/{uri.removeprefix('s3://')}?signature={len(self.signed)}"

        return sign


def urls(found: RevisionStatement | None) -> list[str | None]:
    assert found is not None
    assert found.golden is not None
    return [found.variants[0].files[0].url, found.golden.url]


def test_every_file_of_both_revisions_gets_an_address_and_the_first_end_is_noted() -> None:
    signer = Signer()
    addressed = UrlPolicy(signer, LIFE).address(release(statement("a"), statement("c")), None, now=NOW)
    assert len(signer.signed) == 4
    assert None not in urls(addressed.spec.stable) + urls(addressed.spec.canary)
    assert addressed.spec.stable is not None
    assert addressed.spec.stable.urls_expire_at == NOW.replace(microsecond=0) + LIFE, "rounded down, not up"
    assert addressed.renew_at == NOW.replace(microsecond=0) + LIFE / 2


def test_addresses_are_kept_while_less_than_half_of_their_life_is_over() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    again = policy.address(release(statement("a")), first, now=NOW + timedelta(hours=11))
    assert again.spec == first
    assert not differs(again.spec, first)
    assert len(signer.signed) == 2


def test_addresses_are_renewed_when_half_of_their_life_is_over() -> None:
    policy = UrlPolicy(Signer(), LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    later = NOW + timedelta(hours=12)
    again = policy.address(release(statement("a")), first, now=later)
    assert differs(again.spec, first)
    assert again.renew_at is not None
    assert again.renew_at > later


def test_a_new_canary_is_signed_and_the_stable_addresses_stay() -> None:
    policy = UrlPolicy(Signer(), LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    second = policy.address(release(statement("a"), statement("c")), first, now=NOW + timedelta(hours=1))
    assert second.spec.stable == first.stable
    assert None not in urls(second.spec.canary)


def test_a_promoted_canary_keeps_its_addresses_as_stable() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a"), statement("c")), None, now=NOW).spec
    promoted = policy.address(release(statement("c")), first, now=NOW + timedelta(hours=1)).spec
    assert urls(promoted.stable) == urls(first.canary)
    assert len(signer.signed) == 4


def test_moved_files_get_new_addresses_though_the_revision_is_the_same() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    moved = policy.address(release(statement("a", scheme="s3://other")), first, now=NOW).spec
    assert urls(moved.stable) != urls(first.stable)


def delta(source: str) -> FileDelta:
    return FileDelta(
        from_sha256=source * 64,
        format=DeltaFormat.XOR_ZSTD,
        uri=f"s3://bucket/{source}.delta",
        sha256="d" * 64,
        size_bytes=1,
    )


def test_deltas_get_addresses_as_files_do_and_lose_them_for_the_planner() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    spec = policy.address(release(statement("a", deltas=(delta("b"), delta("c")))), None, now=NOW).spec
    assert spec.stable is not None
    found = spec.stable.variants[0].files[0].deltas
    assert [entry.url for entry in found] == [
        "https://store/bucket/b.delta?signature=2",
        "https://store/bucket/c.delta?signature=3",
    ]
    planned = without_urls(spec.stable)
    assert [entry.url for entry in planned.variants[0].files[0].deltas] == [None, None]
    assert policy.address(release(planned), spec, now=NOW).spec == spec


def test_a_delta_that_comes_later_is_signed_though_the_revision_is_the_same() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    later = policy.address(release(statement("a", deltas=(delta("b"),))), first, now=NOW).spec
    assert later.stable is not None
    assert later.stable.variants[0].files[0].deltas[0].url is not None
    assert differs(later, first)


def test_another_secret_means_new_addresses() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    policy.address(release(statement("a", keys="other-keys")), first, now=NOW)
    assert len(signer.signed) == 4


def test_https_files_have_addresses_without_an_end() -> None:
    policy = UrlPolicy(lambda _: str, LIFE)
    wanted = release(statement("a", scheme="https://host", keys=None))
    addressed = policy.address(wanted, None, now=NOW)
    assert urls(addressed.spec.stable) == ["https://host/a/m.onnx", "https://host/a/golden.npz"]
    assert addressed.renew_at is None
    assert policy.address(wanted, addressed.spec, now=NOW + timedelta(days=999)).spec == addressed.spec


def test_where_signing_fails_known_addresses_stay_and_the_problem_is_told() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    signer.broken = True
    late = policy.address(release(statement("a")), first, now=NOW + timedelta(hours=20))
    assert late.spec == first
    assert late.problem is not None
    assert late.problem.reason == "SecretNotFound"


def test_a_withdrawal_does_not_wait_for_a_secret() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a"), statement("c")), None, now=NOW).spec
    signer.broken = True
    back = policy.address(release(statement("a")), first, now=NOW + timedelta(hours=20))
    assert back.spec.canary is None
    assert urls(back.spec.stable) == urls(first.stable)


def test_a_revision_that_cannot_be_signed_is_released_without_addresses() -> None:
    signer = Signer()
    signer.broken = True
    addressed = UrlPolicy(signer, LIFE).address(release(statement("a")), None, now=NOW)
    assert urls(addressed.spec.stable) == [None, None]
    assert addressed.problem is not None


def test_the_place_in_the_sequence_is_no_difference() -> None:
    assert not differs(release(statement("a"), sequence=1), release(statement("a"), sequence=9))
    assert differs(release(statement("a")), release(statement("c")))
    assert differs(release(statement("a")), None)


def test_a_release_read_back_from_the_server_is_no_difference() -> None:
    spec = UrlPolicy(Signer(), LIFE).address(release(statement("a"), statement("c")), None, now=NOW).spec
    assert not differs(spec, ModelReleaseSpec.model_validate(spec.to_json()))


def test_the_planners_statement_without_addresses_finds_those_of_the_release() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a")), None, now=NOW).spec
    assert first.stable is not None
    planned = release(without_urls(first.stable))
    assert policy.address(planned, first, now=NOW).spec == first


def test_a_drift_profile_is_signed_carried_over_and_left_out_of_what_the_planner_sees() -> None:
    signer = Signer()
    policy = UrlPolicy(signer, LIFE)
    first = policy.address(release(statement("a", drift=True)), None, now=NOW).spec
    assert first.stable is not None
    assert first.stable.profile is not None
    assert first.stable.profile.url == "https://store/bucket/a/profile.json?signature=3"
    again = policy.address(release(statement("a", drift=True)), first, now=NOW).spec
    assert again.stable == first.stable
    assert without_urls(first.stable) == statement("a", drift=True)
