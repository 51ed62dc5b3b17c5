"""DKIM signatures (RFC 6376, RFC 8463): made over the finished headers and body of a mail, in one pass for all keys.

Invariant: the same mail and keys give the same bytes (RSA as PKCS #1 v1.5 and Ed25519 throw no dice), and every header that
the adapter writes is covered. dkimpy, ten times slower, is the oracle of the tests.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

# Listed once more than it is there, so that nobody on the way can add a second one that a mail program would show.
OVERSIGNED = ("from", "subject", "to", "date", "reply-to")
_SIGNED = (
    "from", "subject", "to", "date", "reply-to", "message-id", "mime-version", "content-type",
    "content-transfer-encoding", "list-unsubscribe", "list-unsubscribe-post",
)  # fmt: skip
_BLANKS = re.compile(rb"[ \t]{2,}|\t")
_FOLDS = re.compile(r"\r\n(?=[ \t])")
_RUNS = re.compile(r"[ \t]+")
_BASE64_CHARS = 72
_NAMES_PER_LINE = 5


class DkimKey(msgspec.Struct, frozen=True):
    """A private key and where its public half is published: `SELECTOR._domainkey.DOMAIN`."""

    selector: str
    domain: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> str:
        """As the signature names it: `rsa-sha256` or `ed25519-sha256`."""
        return "rsa-sha256" if isinstance(self.private, RSAPrivateKey) else "ed25519-sha256"


class DkimSigner:
    """Signs with every key it has, relaxed/relaxed, so that what relays do to white space does no harm."""

    def __init__(self, keys: Sequence[DkimKey]) -> None:
        """At least one key."""
        assert keys, "nothing to sign with"
        self.keys = tuple(keys)
        self.slow = any(isinstance(key.private, RSAPrivateKey) for key in keys)
        """Whether a signature takes about a millisecond: too long for an event loop. Ed25519 takes a tenth of that."""

    def sign(self, headers: Sequence[tuple[str, str]], body: bytes, *, at_seconds: int) -> list[tuple[str, str]]:
        """The `DKIM-Signature` headers to put before `headers`.

        Header values are ASCII and may be folded; `body` has CRLF line ends and no doubled dots.
        """
        present: dict[str, list[str]] = {}
        for name, value in headers:
            present.setdefault(name.lower(), []).append(f"{name.lower()}:{_relaxed(value)}\r\n")
        names: list[str] = []
        lines: list[str] = []
        for name in (*_SIGNED, *(name for name in present if name not in _SIGNED)):
            found = present.get(name, [])
            names += [name] * (len(found) + (name in OVERSIGNED))
            lines += reversed(found)  # the last one counts first (RFC 6376, 5.4.2)
        listed = ":\r\n  ".join(
            ":".join(names[start : start + _NAMES_PER_LINE]) for start in range(0, len(names), _NAMES_PER_LINE)
        )
        body_hash = _text(hashlib.sha256(relaxed_body(body)).digest())
        signed = "".join(lines)
        signatures = []
        for key in self.keys:
            value = (
                f"v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain};\r\n s={key.selector}; t={at_seconds};"
                f"\r\n h={listed};\r\n bh={body_hash};\r\n b="
            )
            given = f"{signed}dkim-signature:{_relaxed(value)}".encode("ascii")
            signatures.append(("DKIM-Signature", value + _folded(_signature(key, given))))
        return signatures


def relaxed_body(body: bytes) -> bytes:
    """The body as it is hashed (RFC 6376, 3.4.4); `body` has CRLF line ends only."""
    if b"  " in body or b"\t" in body:
        body = _BLANKS.sub(b" ", body)
    body = body.replace(b" \r\n", b"\r\n")
    if body.endswith(b" "):
        body = body[:-1]
    while body.endswith(b"\r\n"):
        body = body[:-2]
    return body + b"\r\n" if body else b""


def _relaxed(value: str) -> str:
    return _RUNS.sub(" ", _FOLDS.sub("", value)).strip(" ")


def _signature(key: DkimKey, given: bytes) -> str:
    private = key.private
    if isinstance(private, RSAPrivateKey):
        return _text(private.sign(given, padding.PKCS1v15(), hashes.SHA256()))
    return _text(private.sign(hashlib.sha256(given).digest()))


def _folded(signature: str) -> str:
    return "\r\n  ".join(signature[start : start + _BASE64_CHARS] for start in range(0, len(signature), _BASE64_CHARS))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
