"""Downloads from a real S3 server that dies, hangs, changes the object or lets the address expire."""

import random
import threading
import time
from pathlib import Path

import pytest

from edgecanary.base.errors import Unavailable, WrongAnswer
from edgecanary.clients.download import Cancellation, Downloader, DownloadLimits, DownloadPolicy
from edgecanary.clients.objectstore import ObjectStore, S3Credentials
from edgelab.s3 import S3Server

SIZE = 24_000_000
DATA = random.Random(3).randbytes(SIZE)
OTHER = random.Random(4).randbytes(SIZE)


def address(s3: S3Server, uri: str, *, seconds: int = 600) -> str:
    keys = {key: value.encode() for key, value in s3.environment.items()}
    return ObjectStore(S3Credentials.from_secret(keys, name="keys")).address(uri, seconds=seconds)


def broken(s3: S3Server, url: str, part: Path) -> Unavailable:
    """Fetches slowly, kills the server in the middle and starts it again; how the transfer ended."""
    cancellation, errors = Cancellation(), list[Unavailable]()
    slow = Downloader(DownloadPolicy(bytes_per_second=4_000_000, limits=DownloadLimits(stall_seconds=60)))

    def work() -> None:
        try:
            slow.fetch(url, part, SIZE, cancellation)
        except Unavailable as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while cancellation.received < 2_000_000:
        time.sleep(0.01)
    s3.process.kill()
    thread.join()
    s3.start()
    (error,) = errors
    return error


def test_a_download_goes_on_where_the_killed_server_left_it(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    url, part = address(s3, s3.put(bucket, "model.onnx", DATA)), tmp_path / "part"
    assert broken(s3, url, part).reason == "TransferCut"
    have = part.stat().st_size
    assert 2_000_000 <= have < SIZE

    cancellation = Cancellation()
    Downloader().fetch(url, part, SIZE, cancellation)

    assert part.read_bytes() == DATA
    assert cancellation.received == SIZE - have, "only the rest came"


def test_an_object_that_was_replaced_meanwhile_is_fetched_from_its_beginning(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    url, part = address(s3, s3.put(bucket, "model.onnx", DATA)), tmp_path / "part"
    broken(s3, url, part)
    s3.put(bucket, "model.onnx", OTHER)

    with pytest.raises(WrongAnswer) as caught:
        Downloader().fetch(url, part, SIZE, Cancellation())
    assert caught.value.reason == "SourceChanged"
    Downloader().fetch(url, part, SIZE, Cancellation())

    assert part.read_bytes() == OTHER


def test_an_address_that_expired_keeps_the_part_for_the_renewed_one(
    s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    uri, part = s3.put(bucket, "model.onnx", DATA), tmp_path / "part"
    part.write_bytes(DATA[:1000])
    expired = address(s3, uri, seconds=1)
    time.sleep(2.1)

    with pytest.raises(Unavailable, match="HTTP 403; the address has expired") as caught:
        Downloader().fetch(expired, part, SIZE, Cancellation())
    assert caught.value.reason == "AccessDenied"
    assert part.read_bytes() == DATA[:1000]

    cancellation = Cancellation()
    Downloader().fetch(address(s3, uri), part, SIZE, cancellation)
    assert part.read_bytes() == DATA
    assert cancellation.received == SIZE - 1000


def test_a_server_that_hangs_is_given_up(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    url = address(s3, s3.put(bucket, "model.onnx", DATA))
    s3.process.pause()
    try:
        with pytest.raises(Unavailable):
            Downloader(DownloadPolicy(limits=DownloadLimits(stall_seconds=0.5))).fetch(
                url, tmp_path / "part", SIZE, Cancellation()
            )
    finally:
        s3.process.resume()
