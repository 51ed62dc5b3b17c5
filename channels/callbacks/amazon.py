"""Fetches what SNS points to: a certificate, or the address that confirms a subscription.

Invariant: https only, no redirect is followed, no proxy is asked, and no more than a certificate's size is read; who calls has
checked that the host is Amazon's.
"""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import urlsplit

BYTES_MAX = 20_000
SECONDS_MAX = 5.0
_OK = 200


def fetch(url: str) -> bytes:
    """The body. Raises OSError when it cannot be fetched, is too large, or the answer is not 200."""
    parts = urlsplit(url)
    assert parts.scheme == "https", url
    connection = http.client.HTTPSConnection(parts.netloc, timeout=SECONDS_MAX, context=ssl.create_default_context())
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/")
        answer = connection.getresponse()
        body = answer.read(BYTES_MAX + 1)
    except http.client.HTTPException as error:
        raise OSError(f"{parts.netloc} answers no HTTP") from error
    finally:
        connection.close()
    if answer.status != _OK:
        raise OSError(f"{parts.netloc} answers {answer.status}")
    if len(body) > BYTES_MAX:
        raise OSError(f"{parts.netloc} answers more than {BYTES_MAX} bytes")
    return body
