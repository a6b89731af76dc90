"""URLs of buckets, which stand where paths of results folders do."""

from __future__ import annotations

import os
import re

SCHEMES = ("s3", "az", "gs")
_URL = re.compile(rf"({'|'.join(SCHEMES)}):/+(.+)")


def parse_bucket_url(text: str | os.PathLike[str]) -> str | None:
    """Return the URL of a bucket without a slash at its end, None for anything else.

    A path object, which has lost one of the slashes of ``s3://``, is understood too.
    """
    found = _URL.fullmatch(os.fspath(text).strip())
    return f"{found[1]}://{found[2].strip('/')}" if found is not None and found[2].strip("/") else None
