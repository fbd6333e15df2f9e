"""Signs GET requests for S3: AWS Signature Version 4, with the signature in a header. Pure but for the clock.

AWS General Reference, "Create a signed AWS API request", and S3 API reference, "Authenticating Requests
(Authorization Header)": the path is taken as it is sent, neither normalised nor encoded twice.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

__all__ = ["Keys", "signed_fields", "uri_encoded"]

_NOTHING_SHA256 = hashlib.sha256(b"").hexdigest()


class Keys(NamedTuple):
    """Credentials."""

    access: str
    """Access key, which is public."""
    secret: str
    """Secret key."""
    token: str | None
    """Session token of temporary credentials."""

    def __repr__(self) -> str:
        return "Keys(…)"


def uri_encoded(text: str, safe: str = "") -> str:
    """Return `text` as S3 wants it in URLs: all but letters, digits, ``-._~`` and `safe` is escaped."""
    return quote(text, safe=f"{safe}~")


def signed_fields(target: str, fields: dict[str, str], keys: Keys, region: str, now: datetime | None = None) -> str:
    """Return the lines of headers, each ending in CRLF, that make a GET of `target` a signed one.

    Parameters
    ----------
    target
        Path and query as they are sent; a query has its names in order.
    fields
        Headers to be signed with it, names in lower case; "host" is among them.
    keys, region
        Whose request it is, and where the bucket lies.
    now
        Time of the request; None: the present.
    """
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    path, _, query = target.partition("?")
    fields = {**fields, "x-amz-content-sha256": _NOTHING_SHA256, "x-amz-date": stamp}
    if keys.token:
        fields["x-amz-security-token"] = keys.token
    names = sorted(fields)
    lines = "".join([f"{name}:{fields[name]}\n" for name in names])
    listed, scope = ";".join(names), f"{stamp[:8]}/{region}/s3/aws4_request"
    request = f"GET\n{path}\n{query}\n{lines}\n{listed}\n{_NOTHING_SHA256}"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_signing_key(keys.secret, stamp[:8], region), text.encode(), "sha256").hex()
    sent = "".join([f"{name}: {fields[name]}\r\n" for name in names])
    credential = f"{keys.access}/{scope}"
    return (
        f"{sent}authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={listed}, "
        f"Signature={signature}\r\n"
    )


@lru_cache(maxsize=16)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
