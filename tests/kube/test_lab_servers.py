"""The lab's Prometheus and S3 server are real ones, and can be stopped, frozen and started again."""

import contextlib
import http.client
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from edgelab.errors import LabError
from edgelab.prometheus import Prometheus, Target
from edgelab.s3 import S3Server

CONTENT = bytes(range(256)) * 4


def read(url: str, **headers: str) -> tuple[int, bytes]:
    """Status and content of a plain HTTP GET."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", f"{address.path}?{address.query}", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def eventually(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.1)


def test_prometheus_scrapes_targets_that_change_while_it_runs(prometheus: Prometheus) -> None:
    address = f"127.0.0.1:{prometheus.port}"
    prometheus.set_targets([Target(address, {"node": "first"})])
    eventually(lambda: prometheus.scrapes([address]))
    assert [sample.labels["node"] for sample in prometheus.query("up")] == ["first"]
    prometheus.set_targets([Target(address, {"node": "second"})])
    eventually(lambda: [sample.labels["node"] for sample in prometheus.query("up == 1")] == ["second"])


def test_prometheus_keeps_its_samples_over_a_restart(prometheus: Prometheus) -> None:
    address = f"127.0.0.1:{prometheus.port}"
    prometheus.set_targets([Target(address)])
    eventually(lambda: prometheus.scrapes([address]))
    prometheus.set_targets([])
    prometheus.stop()
    with pytest.raises(OSError, match="refused"):
        prometheus.query("up")
    prometheus.start()
    assert prometheus.value("count(count_over_time(up[1h]))") == 1


def test_a_frozen_prometheus_does_not_answer_until_it_is_started(prometheus: Prometheus) -> None:
    prometheus.process.pause()
    with pytest.raises(TimeoutError):
        prometheus.query("up", timeout=0.5)
    prometheus.start()
    assert prometheus.value("vector(1)") == 1


def test_prometheus_says_what_is_wrong_with_a_query(prometheus: Prometheus) -> None:
    with pytest.raises(LabError, match="parse error: unexpected end of input inside braces"):
        prometheus.query("up{")


def test_prometheus_takes_remote_writes(prometheus: Prometheus) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", prometheus.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/api/v1/write", b"not snappy")
        answer = connection.getresponse()
        assert (answer.status, b"snappy" in answer.read()) == (400, True), "404 means: the receiver is off"


def test_an_object_is_read_back_and_can_be_replaced(s3: S3Server, bucket: str) -> None:
    assert s3.put(bucket, "models/a.onnx", CONTENT) == f"s3://{bucket}/models/a.onnx"
    assert s3.get(bucket, "models/a.onnx") == CONTENT
    s3.put(bucket, "models/a.onnx", b"other")
    assert s3.get(bucket, "models/a.onnx") == b"other"


def test_a_presigned_url_needs_no_credentials(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "a", CONTENT)
    assert read(s3.presigned_url(bucket, "a")) == (200, CONTENT)


def test_a_presigned_url_serves_ranges(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "a", CONTENT)
    url = s3.presigned_url(bucket, "a")
    assert read(url, Range="bytes=1000-") == (206, CONTENT[1000:])
    assert read(url, Range="bytes=10-19") == (206, CONTENT[10:20])


def test_a_presigned_url_expires(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "a", CONTENT)
    url = s3.presigned_url(bucket, "a", seconds=1)
    eventually(lambda: read(url)[0] == 403)
    assert b"expired" in read(url)[1]


def test_a_presigned_url_with_another_signature_or_path_is_refused(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "a", CONTENT)
    s3.put(bucket, "b", CONTENT)
    url = s3.presigned_url(bucket, "a")
    changed = url[:-1] + ("0" if url[-1] != "0" else "1")
    for wrong in (changed, url.replace(f"{bucket}/a", f"{bucket}/b")):
        status, words = read(wrong)
        assert (status, b"SignatureDoesNotMatch" in words) == (403, True)


def test_an_object_cannot_be_read_without_a_signature(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "a", CONTENT)
    assert read(f"{s3.url}/{bucket}/a")[0] == 403


def test_a_wrong_secret_key_is_refused(s3: S3Server) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3.client(secret_key="wrong").list_buckets()


def test_the_s3_server_keeps_its_objects_over_a_restart(s3: S3Server, bucket: str) -> None:
    s3.put(bucket, "a", CONTENT)
    s3.stop()
    s3.start()
    assert s3.get(bucket, "a") == CONTENT
