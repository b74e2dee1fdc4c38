"""Webhooks: what is sent, how it is signed, and what each answer of a real server means."""

import json
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgecanary.base.errors import InvalidInput, Unavailable, WrongAnswer
from edgecanary.clients import webhook
from edgecanary.clients.webhook import CloudEvent, Webhook, WebhookTarget
from tests.unit.receiver import Noon, Receiver, receiving

SECRET = "an old secret of enough bytes"
EVENT = CloudEvent(
    id="0123456789abcdef0123456789abcdef",
    type="dev.edgecanary.rollout.promoted",
    source="/apis/edgecanary.dev/v1alpha1/namespaces/plant/rollouts/pump",
    subject="plant/pump",
    time=datetime(2026, 1, 5, 12, 0, tzinfo=UTC),
    data={"message": "grün"},
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def secrets(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "secret"
    path.write_text(text)
    return path


def test_an_event_is_one_post_in_the_structured_mode_of_cloud_events(receiver: Receiver) -> None:
    receiver.webhook().send(EVENT)
    ((headers, body),) = receiver.seen
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": EVENT.id,
        "type": EVENT.type,
        "source": EVENT.source,
        "subject": "plant/pump",
        "time": "2026-01-05T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"message": "grün"},
    }
    assert headers["webhook-id"] == EVENT.id
    assert "webhook-signature" not in headers


def test_the_signature_is_what_openssl_makes_of_id_time_and_body(receiver: Receiver, tmp_path: Path) -> None:
    receiver.webhook(secrets(tmp_path, f"{SECRET}\n")).send(EVENT)
    ((headers, body),) = receiver.seen
    assert headers["webhook-timestamp"] == str(int(Noon().now().timestamp()))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", SECRET, "-binary"],
        input=signed,
        capture_output=True,
        check=True,
    ).stdout
    encoded = subprocess.run(
        ["openssl", "base64", "-A"], input=digest, capture_output=True, check=True
    ).stdout
    assert headers["webhook-signature"] == f"v1,{encoded.decode()}"


def test_two_secrets_both_sign_while_one_replaces_the_other(receiver: Receiver, tmp_path: Path) -> None:
    both = secrets(tmp_path, f"{SECRET}\n\nwhsec_bmV3IHNlY3JldCBvZiAyMCBieXRlcw==\n")
    receiver.webhook(both).send(EVENT)
    ((headers, body),) = receiver.seen
    stamp = headers["webhook-timestamp"]
    assert headers["webhook-signature"].split() == [
        webhook.sign(key, EVENT.id, stamp, body) for key in (SECRET.encode(), b"new secret of 20 bytes")
    ]


def test_the_secret_is_read_anew_for_each_event(receiver: Receiver, tmp_path: Path) -> None:
    path = secrets(tmp_path, SECRET)
    hook = receiver.webhook(path)
    hook.send(EVENT)
    path.write_text("a new secret of enough bytes")
    hook.send(EVENT)
    first, second = (headers["webhook-signature"] for headers, _ in receiver.seen)
    assert first != second


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_2xx_takes_the_event(receiver: Receiver, status: int) -> None:
    receiver.status = status
    receiver.webhook().send(EVENT)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_an_event_that_the_receiver_cannot_use_is_refused_for_good(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.answer = status, b"no\x1b[31m such\nfield"
    with pytest.raises(WrongAnswer, match=rf"answers {status}: no\?\[31m such field$"):
        receiver.webhook().send(EVENT)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 410, 425, 429, 500, 502, 503])
def test_anything_else_may_be_tried_again(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with pytest.raises(Unavailable, match=f"answers {status}"):
        receiver.webhook().send(EVENT)


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_says_when_to_come_again(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"Retry-After": "17"}
    with pytest.raises(Unavailable) as refused:
        receiver.webhook().send(EVENT)
    assert refused.value.retry_after_seconds == 17


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.status, receiver.headers = 307, {"Location": f"http://127.0.0.1:{elsewhere.port}/"}
        with pytest.raises(Unavailable, match="redirects are not followed"):
            receiver.webhook().send(EVENT)
        assert elsewhere.seen == []


def test_a_receiver_that_hangs_is_given_up(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "_SECONDS", 0.3)
    receiver.hangs = True
    with pytest.raises(Unavailable, match="no complete answer within"):
        receiver.webhook().send(EVENT)


def test_a_receiver_that_breaks_off_is_tried_again(receiver: Receiver) -> None:
    receiver.cuts = True
    with pytest.raises(Unavailable):
        receiver.webhook().send(EVENT)


def test_nobody_there_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unavailable):
        Webhook(WebhookTarget(f"http://127.0.0.1:{port}/"), Noon(), user_agent="test").send(EVENT)


def test_messages_keep_the_address_and_the_secret_to_themselves(receiver: Receiver, tmp_path: Path) -> None:
    receiver.status = 500
    hook = receiver.webhook(secrets(tmp_path, SECRET))
    with pytest.raises(Unavailable) as failed:
        hook.send(EVENT)
    assert hook.place == f"http://127.0.0.1:{receiver.port}"
    for hidden in ("t0ken", "hidden", SECRET):
        assert hidden not in str(failed.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/", "must be an http:// or https:// address"),
        ("https://", "with a host"),
        ("https://host:99999/", "must be an http:// or https:// address"),
        ("https://user:word@host/", "must not hold a user or password"),
        ("https://host/a b", "must not hold spaces"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_and_not_repeated(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        WebhookTarget(url)
    assert "--notify-url" in str(refused.value)
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must hold 1 to 4 secrets, one a line, got 0"),
        ("short", "at least 16 bytes, got one of 5"),
        ("whsec_???", "must hold base64 after whsec_"),
        ("\n".join(["a secret of enough bytes"] * 5), "must hold 1 to 4 secrets, one a line, got 5"),
    ],
)
def test_a_secret_that_cannot_sign_is_named_and_not_repeated(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        WebhookTarget("https://host/", secrets(tmp_path, text)).secrets()
    assert "--notify-secret-file" in str(refused.value)


def test_a_secret_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere cannot be read: No such file"):
        WebhookTarget("https://host/", tmp_path / "nowhere").secrets()
