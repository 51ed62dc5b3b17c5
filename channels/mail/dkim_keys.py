"""Keys for DKIM: made, read from files, and published as DNS records; and whether a signature counts for a sender (DMARC).

Invariant: a private key leaves this module only into a file that its owner alone can read; nothing here prints one.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from channels.mail.dkim import DkimKey

Kind = Literal["rsa", "ed25519"]
RSA_BITS = 2_048
RSA_BITS_MIN = 1_024
"""RFC 8301: verifiers take no shorter key for good."""
RSA_BITS_MAX = 4_096
TXT_CHARS_MAX = 255
"""Of one string of a TXT record; a longer value is written as several."""
_FILE_BYTES_MAX = 65_536
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
# Under these second-level names of a country anybody can register: `co.uk` is not an organisation.
_REGISTRIES = frozenset({"ac", "co", "com", "edu", "gov", "gv", "net", "nom", "or", "org", "ne", "go"})
_COUNTRY_CHARS = 2


def make_key(file: Path, *, kind: Kind, bits: int = RSA_BITS) -> RSAPrivateKey | Ed25519PrivateKey:
    """Make a key and write it to a new file (PKCS #8, PEM, mode 0600). Raises `OSError`, also when the file is there."""
    private = (
        rsa.generate_private_key(public_exponent=65_537, key_size=bits)
        if kind == "rsa"
        else Ed25519PrivateKey.generate()
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(pem)
    return private


def load_key(file: str, *, kind: Kind, selector: str, domain: str) -> DkimKey:
    """The key in a PEM file, or for Ed25519 also the 32 bytes in base64 that dkimpy writes. `ValueError` says the mend."""
    where = f"the file {file}"
    if not is_domain(selector) or not is_domain(domain):
        raise ValueError(f"the selector {selector!r} and the domain {domain!r} must be names as they stand in DNS")
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise ValueError(f"{where} cannot be read ({error.strerror}); make a key with `anlass dkim-key`") from None
    private = _private(data)
    if private is None:
        raise ValueError(f"{where} holds no private key without a password; make one with `anlass dkim-key`")
    if kind == "ed25519" and isinstance(private, Ed25519PrivateKey):
        return DkimKey(selector, domain.lower(), private)
    if kind == "rsa" and isinstance(private, RSAPrivateKey):
        if not RSA_BITS_MIN <= private.key_size <= RSA_BITS_MAX:
            raise ValueError(
                f"{where} holds a key of {private.key_size} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are taken, and"
                f" {RSA_BITS} is right for most"
            )
        return DkimKey(selector, domain.lower(), private)
    raise ValueError(f"{where} holds no {'RSA' if kind == 'rsa' else 'Ed25519'} key; name one that does")


def _private(data: bytes) -> object:
    try:
        return serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(data.strip(), validate=True))
    except ValueError:
        return None


def record_name(selector: str, domain: str) -> str:
    """Where the public key is published."""
    return f"{selector}._domainkey.{domain}"


def record_value(private: RSAPrivateKey | Ed25519PrivateKey) -> str:
    """The TXT record of the public key, as one text."""
    public = private.public_key()
    if isinstance(private, RSAPrivateKey):
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode('ascii')}"
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(raw).decode('ascii')}"


def zone_line(name: str, value: str) -> str:
    """A TXT record as a zone file has it: long values in several strings, which resolvers put together again."""
    parts = [value[start : start + TXT_CHARS_MAX] for start in range(0, len(value), TXT_CHARS_MAX)]
    quoted = " ".join(f'"{part}"' for part in parts)
    return f"{name}. IN TXT {quoted}"


def is_domain(name: str) -> bool:
    """Whether it could stand in DNS: labels of letters, digits and hyphens."""
    return len(name) <= 253 and all(_LABEL.match(label) for label in name.split("."))  # noqa: PLR2004 - RFC 1035


def aligned(signing: str, sender: str) -> bool:
    """Whether DMARC (relaxed) takes a signature of one domain for mail from the other: both are of one organisation.

    Without the public suffix list: one is above the other, or they share a name that is not a registry's.
    """
    one, other = (name.lower().rstrip(".").split(".") for name in (signing, sender))
    shared = 0
    while shared < min(len(one), len(other)) and one[-1 - shared] == other[-1 - shared]:
        shared += 1
    if shared < 2:  # noqa: PLR2004 - a top-level domain is nobody's
        return one == other
    registry = shared == 2 and len(one[-1]) == _COUNTRY_CHARS and one[-2] in _REGISTRIES  # noqa: PLR2004 - co.uk
    return not registry or one == other
