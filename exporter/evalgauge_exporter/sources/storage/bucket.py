"""A bucket, through obstore: the one storage interface for S3, Azure Blob Storage and Google Cloud Storage.

Credentials are those that each cloud's own tools find; nothing of them is in the configuration. docs/scaling.md has the
costs.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from textwrap import shorten
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from evalgauge_exporter.errors import RefreshError
from evalgauge_exporter.sources.http import MAX_DETAIL, USER_AGENT

if TYPE_CHECKING:
    from obstore.store import ObjectStore

EXTRA = "install it with: pip install 'evalgauge[storage]'"
TIMEOUT = timedelta(seconds=60)
RETRY_TIMEOUT = timedelta(seconds=30)
MAX_RETRIES = 4
"""Retries of one request by obstore, with growing pauses; after that the refresh fails and waits longer."""
_THROTTLED = re.compile(r"SlowDown|TooManyRequests|ServerBusy", re.IGNORECASE)
_STATUS = re.compile(r"status code: (\d{3})")


class StoredObject(NamedTuple):
    """An object of a bucket."""

    key: str
    """Relative to the bucket's URL."""
    size: int
    etag: str
    """Changes when the content does."""
    modified: float
    """Unix seconds."""


class Bucket:
    """A bucket, or what is below a prefix of it.

    Args:
        url: ``s3://bucket/prefix``, ``az://container/prefix`` or ``gs://bucket/prefix``.

    Its methods raise `RefreshError`. They may be called from several threads.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._store: ObjectStore | None = None

    def list_objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield all objects below a prefix, at 1,000 a request."""
        try:
            for page in _import_obstore().list(self._open(), prefix=prefix or None):
                for found in page:
                    yield _read_meta(found)
        except Exception as error:
            raise classify_error(error, self.url) from error

    def list_folders(self) -> tuple[list[str], list[StoredObject]]:
        """Return the names of the folders directly below the URL, and the objects there, at 1,000 a request."""
        try:
            found = _import_obstore().list_with_delimiter(self._open())
            folders = [str(prefix).strip("/").rpartition("/")[2] for prefix in found["common_prefixes"]]
            return folders, [_read_meta(row) for row in found["objects"]]
        except Exception as error:
            raise classify_error(error, self.url) from error

    def find(self, key: str) -> StoredObject | None:
        """Return an object, None where there is none."""
        obstore = _import_obstore()
        try:
            return _read_meta(obstore.head(self._open(), key))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise classify_error(error, f"{self.url}/{key}") from error

    def read_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes of an object from ``start`` to ``end``, which is not included."""
        if end <= start:
            return b""
        try:
            return bytes(_import_obstore().get_range(self._open(), key, start=start, end=end))
        except Exception as error:
            raise classify_error(error, f"{self.url}/{key}") from error

    def download(self, key: str, target: IO[bytes], size: int) -> None:
        """Write an object to a file, ``size`` bytes at most; it may have grown since it was listed."""
        try:
            left = size
            for chunk in _import_obstore().get(self._open(), key).stream(min_chunk_size=1 << 20):
                target.write(bytes(chunk)[:left])
                left -= len(chunk)
                if left <= 0:
                    break
        except Exception as error:
            raise classify_error(error, f"{self.url}/{key}") from error

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object, whole or not at all."""
        try:
            _import_obstore().put(self._open(), key, content)
        except Exception as error:
            raise classify_error(error, f"{self.url}/{key}") from error

    def _open(self) -> ObjectStore:
        if self._store is None:
            open_store: Any = _import_obstore().store.from_url  # its overloads want one cloud each
            scheme = urlsplit(self.url).scheme
            options: dict[str, Any] = {"timeout": TIMEOUT, "user_agent": USER_AGENT}
            if any(os.environ.get(name, "").startswith("http://") for name in _ENDPOINTS[scheme]):
                options["allow_http"] = True
            self._store = open_store(
                self.url,
                client_options=options,
                retry_config={"max_retries": MAX_RETRIES, "retry_timeout": RETRY_TIMEOUT},
                credential_provider=_find_credentials(scheme),
            )
        return self._store


_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
"""Variables that obstore reads; an address that begins with http:// is a local server."""


def _find_credentials(scheme: str) -> Any:
    """What signs in where the environment has no key: boto3 (profiles, SSO, roles) and azure-identity, if installed."""
    if scheme == "s3" and "AWS_ACCESS_KEY_ID" not in os.environ and importlib.util.find_spec("boto3"):
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    keys = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_USE_EMULATOR")
    if scheme == "az" and not any(key in os.environ for key in keys) and importlib.util.find_spec("azure.identity"):
        from obstore.auth.azure import AzureCredentialProvider

        return AzureCredentialProvider()
    return None  # obstore's own chain


def _import_obstore() -> Any:
    try:
        import obstore
    except ImportError as error:
        raise RefreshError("not_installed", f"{error.name} is not installed; {EXTRA}") from error
    return obstore


def _read_meta(found: Any) -> StoredObject:
    modified = found["last_modified"].timestamp()
    return StoredObject(str(found["path"]), int(found["size"]), found.get("e_tag") or f"{modified}", modified)


def classify_error(error: Exception, what: str) -> RefreshError:
    """Return what an error of obstore means; ``what`` names the bucket or the object."""
    if isinstance(error, RefreshError):
        return error
    text = str(error).partition("Debug source:")[0]
    line = shorten(" ".join(text.split()), MAX_DETAIL, placeholder=" …")
    kind = type(error).__name__
    found = _STATUS.search(text)
    status = int(found[1]) if found is not None else 0
    if kind == "InvalidPathError":
        return RefreshError(
            "malformed", f"{what}: the key of an object there is no path, so obstore can't list it: {line}"
        )
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError" or status == 404:
        return RefreshError("not_found", f"{what}: not found; check the name of the bucket")
    if isinstance(error, PermissionError) or kind == "PermissionDeniedError" or status == 403:
        return RefreshError(
            "forbidden", f"{what}: access is denied; it needs the rights to list and read, and to write to send"
        )
    if kind == "UnauthenticatedError" or status == 401 or "credential" in line.lower():
        return RefreshError("signed_out", f"{what}: no credentials, or they are not accepted: {line}")
    if status in (429, 503) or _THROTTLED.search(text):
        return RefreshError("throttled", f"{what}: too many requests")
    if status >= 500:
        return RefreshError("server_error", f"{what}: answers {status}")
    if "timed out" in line.lower() or isinstance(error, TimeoutError):
        return RefreshError("timeout", f"{what}: no answer in time")
    return RefreshError("unreachable", f"{what}: {line}")
