"""A real S3 server on the loopback interface.

It checks signatures and the expiry of presigned URLs and serves ranges of the form
`bytes=FIRST-[LAST]`. What it lacks: TLS, conditional requests (If-None-Match and If-Range are
ignored, there is no 304), `bytes=-LENGTH`, versions, policies.
"""

import http.client
import secrets
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from edgelab.errors import LabError
from edgelab.place import HERE, Place
from edgelab.ports import free_port
from edgelab.processes import Process, Supervisor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION = "us-east-1"
_READY_SECONDS = 60.0


class S3Server:
    """An S3 server with one user, which can be stopped, frozen and started again on its data.

    Args:
        supervisor: runs the process.
        data_dir: folder for the buckets; made when needed.
        place: where it runs. In another network it is reached here too when its port is forwarded.
    """

    def __init__(self, supervisor: Supervisor, data_dir: Path, *, place: Place = HERE) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir = data_dir
        self.port = free_port()
        self.access_key = f"LAB{secrets.token_hex(8).upper()}"
        self.secret_key = secrets.token_hex(20)
        self._supervisor = supervisor
        self._place = place
        self._process: Process | None = None

    @property
    def url(self) -> str:
        """Its address, the endpoint URL for clients in its own network."""
        return f"http://{self._place.address}:{self.port}"

    @property
    def process(self) -> Process:
        """The process: `pause()` makes it hang, `resume()` goes on.

        Raises:
            LabError: it has not been started.
        """
        if self._process is None:
            raise LabError("the S3 server has not been started")
        return self._process

    @property
    def environment(self) -> dict[str, str]:
        """The variables that S3 clients read, and the data of a `sourceSecretRef` Secret."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
        }

    def start(self) -> None:
        """Start it on the data it had, or wake it when it is frozen, and wait until it answers.

        Raises:
            ProcessError: it died or was not ready in time.
        """
        if self._process is None or not self._process.running:
            keys = {"NANIO_ACCESS_KEY": self.access_key, "NANIO_SECRET_KEY": self.secret_key}
            self._process = self._supervisor.start("s3", self._command(), env=keys)
        self._process.resume()
        self._process.wait_ready(self._answers, timeout=_READY_SECONDS)

    def stop(self) -> None:
        """Stop it; `start` goes on with its data at the same address."""
        if self._process is not None:
            self._process.stop()

    def client(self, *, secret_key: str | None = None) -> "S3Client":
        """A boto3 client of this server, on request with another secret key than the right one."""
        client: S3Client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
        )
        return client

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        self.client().create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, content: bytes) -> str:
        """Write an object, or replace it; its `s3://` URI."""
        self.client().put_object(Bucket=bucket, Key=key, Body=content)
        return f"s3://{bucket}/{key}"

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        return self.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self.client().delete_object(Bucket=bucket, Key=key)

    def presigned_url(self, bucket: str, key: str, *, seconds: int = 3600) -> str:
        """A URL that anybody may read the object at, for a while."""
        where = {"Bucket": bucket, "Key": key}
        return self.client().generate_presigned_url("get_object", Params=where, ExpiresIn=seconds)

    def _answers(self) -> bool:
        """Whether it answers a request, if only to refuse it."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except (OSError, http.client.HTTPException):
            return False

    def _command(self) -> list[str | Path]:
        address = ["--host", self._place.listen, "--port", str(self.port), "--region", REGION]
        return [
            *self._place.enter,
            sys.executable,
            "-m",
            "nanio",
            "serve",
            *address,
            "--data-dir",
            self.data_dir,
        ]
