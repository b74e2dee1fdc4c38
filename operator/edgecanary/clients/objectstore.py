"""Model files in object stores: presigned addresses for nodes, and bounded reading for the operator's checks.

The operator reads a file by the same presigned address that nodes get, so a check also proves the address.
Addresses carry a signature: they never appear in messages or logs.
"""

import contextlib
import functools
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin, urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from edgecanary.base.errors import EdgecanaryError, InvalidInput, NotAllowed, NotFound, Unavailable
from edgecanary.base.reach import Reach
from edgecanary.clients.http import Exchange, Request

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_URL_SECONDS = 7 * 86_400
"""The longest life of a presigned address that S3 allows."""

_READ_URL_SECONDS = 3600
_MAX_REDIRECTS = 5
_ERROR_BYTES = 64 * 1024
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN")
_REFUSALS = {
    "InvalidAccessKeyId": "the store does not know the AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the store says that the AWS_SECRET_ACCESS_KEY is wrong",
    "ExpiredToken": "the AWS_SESSION_TOKEN has expired",
    "InvalidToken": "the AWS_SESSION_TOKEN is not valid",
    "RequestTimeTooSkewed": "the operator's clock differs from the store's",
    "AuthorizationHeaderMalformed": "AWS_REGION is not the bucket's region",
    "PermanentRedirect": "AWS_REGION or AWS_ENDPOINT_URL is not the bucket's",
    "AccessDenied": "the keys may not read it (s3:GetObject), or it does not exist",
}
_boto = threading.Lock()
_ANYWHERE = Reach()

AddressingStyle = Literal["path", "virtual"]


@dataclass(frozen=True)
class S3Credentials:
    """Keys and place of an S3 store. The keys are left out of the object's text."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    region: str = "us-east-1"
    endpoint_url: str | None = None
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_secret(cls, data: Mapping[str, bytes], *, name: str) -> "S3Credentials":
        """From a Secret's data. Raises InvalidInput naming the Secret and the key, never its value."""
        values = {key: _text(data[key], key, name) for key in _KEYS if data.get(key)}
        for key in _KEYS[:2]:
            if not values.get(key):
                raise _bad_secret(name, f"must hold {key}")
        endpoint = values.get("AWS_ENDPOINT_URL")
        if endpoint is not None and not re.fullmatch(r"https?://[^\s/?#@]+/?", endpoint):
            raise _bad_secret(
                name, "must hold an address such as https://s3.example.com under AWS_ENDPOINT_URL"
            )
        region = values.get("AWS_REGION", "us-east-1")
        if not re.fullmatch(r"[a-z0-9-]{1,63}", region):
            raise _bad_secret(name, "must hold a region such as eu-central-1 under AWS_REGION")
        return cls(
            access_key_id=values["AWS_ACCESS_KEY_ID"],
            secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            region=region,
            endpoint_url=endpoint,
            session_token=values.get("AWS_SESSION_TOKEN"),
        )


@dataclass(frozen=True)
class Download:
    """A file under way: the length that the store announces, if it does, and the bytes as they arrive."""

    length: int | None
    chunks: Iterator[bytes]


class ObjectStore:
    """Where the files of one EdgeModel come from: `s3://` with credentials, `https://` without."""

    def __init__(
        self, credentials: S3Credentials | None = None, *, stores: Reach = _ANYWHERE, files: Reach = _ANYWHERE
    ) -> None:
        """`stores` says where `s3://` may lead, `files` where `https://` may."""
        self._credentials = credentials
        self._stores = stores
        self._files = files

    def address(self, uri: str, *, seconds: int) -> str:
        """The address from which anybody may fetch the file: presigned for `seconds`, or the https uri itself.

        Raises InvalidInput for an `s3://` uri when there are no credentials, and NotAllowed for an address that
        must not be reached.
        """
        if not uri.startswith("s3://"):
            self._files.check(uri, name=uri)
            return uri
        url = self._presign(uri, seconds)
        try:
            self._stores.check(url)
        except NotAllowed as error:
            raise error.of("spec.sourceSecretRef: AWS_ENDPOINT_URL or AWS_REGION") from None
        return url

    def _presign(self, uri: str, seconds: int) -> str:
        parts = urlsplit(uri)
        if self._credentials is None:
            raise InvalidInput(
                "spec.sourceSecretRef", f"must name a Secret with S3 keys for {uri}", reason="SecretMissing"
            )
        # The key is all that follows the bucket, `?` and `#` included.
        target = {"Bucket": parts.netloc, "Key": uri.removeprefix(f"s3://{parts.netloc}/")}
        try:
            with _boto:
                client = _client(self._credentials, _style(self._credentials, parts.netloc))
            return client.generate_presigned_url(
                "get_object", Params=target, ExpiresIn=min(seconds, MAX_URL_SECONDS)
            )
        except (BotoCoreError, ValueError) as error:
            raise InvalidInput(
                "spec.sourceSecretRef", f"cannot sign for {uri}: {error}", reason="InvalidSecret"
            ) from error

    @contextlib.contextmanager
    def open(self, uri: str, *, seconds: float) -> Iterator[Download]:
        """Starts to fetch the file, to be done within `seconds`.

        Raises NotFound (SourceNotFound) when there is no such file, Unavailable with reason SourceForbidden
        when the store refuses the keys and SourceUnavailable when it does not answer, NotAllowed for a name that
        leads where it must not, and as `address` does.
        """
        url = self.address(uri, seconds=_READ_URL_SECONDS)
        with contextlib.ExitStack() as stack, _naming(uri):
            exchange = self._follow(stack, uri, url, seconds)
            yield Download(_length(exchange), exchange.chunks())

    def _follow(self, stack: contextlib.ExitStack, uri: str, url: str, seconds: float) -> Exchange:
        """The exchange that has the file; https sources may redirect, but only to https."""
        reach = self._stores if uri.startswith("s3:") else self._files
        first = urlsplit(url).netloc
        for _ in range(_MAX_REDIRECTS + 1):
            allowed = reach if urlsplit(url).netloc == first else reach.elsewhere()
            exchange = stack.enter_context(Exchange(Request("GET", url, reach=allowed), seconds=seconds))
            if exchange.status == 200:
                return exchange
            location = exchange.header("Location")
            if uri.startswith("s3:") or not 300 <= exchange.status < 400 or location is None:
                raise _refusal(uri, exchange)
            url = urljoin(url, location)
            if not url.startswith("https://"):
                raise Unavailable("SourceForbidden", f"{uri}: redirects to an address that is not https")
        raise Unavailable("SourceUnavailable", f"{uri}: redirects more than {_MAX_REDIRECTS} times")


@contextlib.contextmanager
def _naming(uri: str) -> Iterator[None]:
    """Names the file in errors of the transfer, and never the address, which is signed."""
    try:
        yield
    except NotAllowed as error:
        raise NotAllowed("", f"{uri}: {error.rule}", reason=error.reason) from None
    except Unavailable as error:
        if error.reason not in ("ConnectionFailed", "DeadlineExceeded"):
            raise
        raise Unavailable("SourceUnavailable", f"{uri}: {error.message}") from None


def _style(credentials: S3Credentials, bucket: str) -> AddressingStyle:
    """Path style for stores other than AWS, and for names that no wildcard certificate covers."""
    return "path" if credentials.endpoint_url or "." in bucket else "virtual"


@functools.lru_cache(maxsize=8)
def _client(credentials: S3Credentials, style: AddressingStyle) -> "S3Client":
    client: S3Client = _session().client(
        "s3",
        region_name=credentials.region,
        endpoint_url=credentials.endpoint_url,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        aws_session_token=credentials.session_token,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )
    return client


@functools.cache
def _session() -> boto3.session.Session:
    """One session for all clients: it holds the large descriptions of the services.

    Nothing of the operator's own surroundings decides where a user's files are looked for.
    """
    core = botocore.session.Session()
    core.set_config_variable("ignore_configured_endpoint_urls", True)
    return boto3.session.Session(botocore_session=core)


def _refusal(uri: str, exchange: Exchange) -> EdgecanaryError:
    status = exchange.status
    body = exchange.read(_ERROR_BYTES).decode(errors="replace")
    found = re.search(r"<Code>(\w{1,100})</Code>", body)
    code = found[1] if found else f"HTTP {status}"
    if code == "NoSuchBucket":
        return NotFound("SourceNotFound", f"{uri}: there is no such bucket")
    if code == "NoSuchKey" or status in (404, 410):
        return NotFound("SourceNotFound", f"{uri}: there is no such file; upload it or correct the uri")
    if code in _REFUSALS:
        return Unavailable("SourceForbidden", f"{uri}: {code}: {_REFUSALS[code]}")
    if status in (401, 403):
        return Unavailable("SourceForbidden", f"{uri}: the store refuses to give it ({code})")
    return Unavailable("SourceUnavailable", f"{uri}: the store answers {code}")


def _length(exchange: Exchange) -> int | None:
    text = exchange.header("Content-Length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _text(value: bytes, key: str, name: str) -> str:
    try:
        text = value.decode().strip()
    except UnicodeDecodeError as error:
        raise _bad_secret(name, f"must hold text under {key}") from error
    if not text.isprintable() or len(text) > 4096:
        raise _bad_secret(name, f"must hold one printable line under {key}")
    return text


def _bad_secret(name: str, rule: str) -> InvalidInput:
    return InvalidInput("spec.sourceSecretRef", f"Secret {name} {rule}", reason="InvalidSecret")
