"""The email channel: `mime` beside this builds the mail, `pool` lends a connection, `smtp` sends it.

Invariant: one recipient per transaction, so that "partly refused" cannot exist, and an envelope of our own that no header
decides.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from channels import guard
from channels.contract import Capabilities, OutgoingMessage, PermanentError, Receipt, TransientError
from channels.mail import mime
from channels.mail.dkim import DkimKey, DkimSigner
from channels.mail.dkim_keys import Kind, aligned, load_key
from channels.mail.marks import HEADER, LOCAL_CHARS_MAX, PLACE, SECRET_BYTES_MIN, Marks, local_part_chars
from channels.mail.pool import Pool, PoolLimits
from channels.mail.session import Login, connect
from channels.mail.smtp import SmtpConnection
from channels.section import read_section

Service = Literal["", "ses", "sendgrid", "mailgun", "postmark"]
Tls = Literal["auto", "none", "starttls", "implicit"]
_PORT_IMPLICIT_TLS = 465
# What makes each service repeat our id in its webhooks: its own name for data of the sender's.
_SERVICE_HEADERS = {
    "ses": ("X-SES-MESSAGE-TAGS", f"anlass={PLACE}"),
    "sendgrid": ("X-SMTPAPI", f'{{"unique_args":{{"anlass":"{PLACE}"}}}}'),
    "mailgun": ("X-Mailgun-Variables", f'{{"anlass":"{PLACE}"}}'),
    "postmark": ("X-PM-Metadata-anlass", PLACE),
}
_RETURN_PATH = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]*(\{id\})?[A-Za-z0-9.!#$%&'*+/=?^_`|~-]*@[^@\s]+\Z")


class EmailSettings(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}, forbid_unknown_fields=True):
    """Everything the email channel can be told; only `host` and `from_` ("from" in a file) are needed.

    `tls`: "implicit" (port 465), "starttls" (required), "none", or "auto": implicit on port 465, nothing to a loopback
    address, elsewhere STARTTLS when the server offers it, and required when there is a password to protect.
    `return_path` is the envelope's sender, where bounces go; "{id}" in it becomes the message id (VERP:
    "b+{id}@bounces.shop.example"). Empty: the address of the sender. With `mark_secret` a code follows the id, so that nobody
    else can make such an address, and a header holds the same mark. `service` is the mail service behind `host`, whose own
    header then names the message in its webhooks.
    """

    host: str
    from_: str
    port: Annotated[int, Meta(ge=1, le=65_535)] = 25
    username: str | None = None
    password: str | None = None
    tls: Tls = "auto"
    ca_file: str | None = None  # PEM of a private authority to trust beside the system's
    connections: Annotated[int, Meta(ge=1, le=500)] = 10
    messages_per_connection_max: Annotated[int, Meta(ge=1)] = 1_000
    timeout_seconds: Annotated[float, Meta(gt=0, le=600)] = 30.0  # connecting, and each answer before the content
    answer_timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 300.0  # after the dot; RFC 5321 asks for patience
    idle_seconds_max: Annotated[float, Meta(gt=0)] = 30.0
    noop_after_idle_seconds: Annotated[float, Meta(ge=0)] = 5.0
    local_hostname: str | None = None  # said in EHLO; None: this machine's name
    return_path: str = ""
    dkim_domain: str = ""  # "": the domain of `from_`
    dkim_selector: str = ""
    dkim_key_file: str | None = None  # an RSA key
    dkim_ed25519_selector: str = ""
    dkim_ed25519_key_file: str | None = None
    mark_secret: str | None = None  # at least 16 characters; the reader of bounces needs the same
    service: Service = ""


class EmailChannel:
    """Sends mail through one SMTP server; the contract is `channels.contract.Channel`."""

    capabilities = Capabilities(html=True, subject=True, list_unsubscribe=True)

    def __init__(self, settings: EmailSettings, *, name: str = "email") -> None:
        """`ValueError`, with the mend in it, for settings that could never work."""
        self.name = name
        self.settings = settings
        self._login = _login(settings)
        self._pool: Pool | None = None
        secret = (settings.mark_secret or "").encode()
        if 0 < len(secret) < SECRET_BYTES_MIN:
            raise ValueError(f"The email setting `mark_secret` has fewer than {SECRET_BYTES_MIN} characters.")
        self._marks = Marks(secret) if secret else None
        # What the server took last. A mail is built before a connection is lent, so that a bad one never gets that far,
        # and built again in the rare case that this proves wrong.
        self._eight_bit = True
        _check_addresses(settings)
        self._signer = signer_of(settings)
        # RSA takes a millisecond, and lets go of the interpreter meanwhile: as many at once as there are cores.
        self._signing: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Prepare; connects to nothing, so that a server that is down does not keep the engine from starting."""
        if self._login.local_hostname == "":
            name = "localhost" if _is_loopback(self.settings.host) else await asyncio.to_thread(socket.getfqdn)
            self._login = msgspec.structs.replace(self._login, local_hostname=name or "localhost")
        if self.settings.ca_file is not None and self._login.tls_context is None:
            context = await asyncio.to_thread(_tls_context, self.settings.ca_file)
            self._login = msgspec.structs.replace(self._login, tls_context=context)
        limits = PoolLimits(
            connections=self.settings.connections,
            messages_per_connection_max=self.settings.messages_per_connection_max,
            idle_seconds_max=self.settings.idle_seconds_max,
            noop_after_idle_seconds=self.settings.noop_after_idle_seconds,
        )
        self._pool = Pool(self._connect, limits)
        if self._signer is not None and self._signer.slow and self._signing is None:
            self._signing = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="anlass-dkim")

    async def close(self) -> None:
        """Wait for the sends under way, then leave the server politely. Idempotent."""
        if self._pool is not None:
            await self._pool.close()
        if self._signing is not None:
            self._signing.shutdown(wait=False)
            self._signing = None

    async def send(self, delivery: OutgoingMessage) -> Receipt:
        """Send one mail; the results and errors are those of the contract."""
        pool = self._pool
        if pool is None:
            raise TransientError("the channel is not open", code="closed")
        settings = self.settings
        mark = self._marks.mark(delivery.id) if self._marks is not None else delivery.id
        more = [(HEADER, mark)] if self._marks is not None else []
        if settings.service:
            name, value = _SERVICE_HEADERS[settings.service]
            more.append((name, value.replace(PLACE, delivery.id)))
        if more:
            delivery = msgspec.structs.replace(delivery, headers=(*delivery.headers, *more))
        back = settings.return_path.replace(PLACE, mark)
        if back and self._marks is not None and PLACE in settings.return_path and not settings.service:
            delivery = msgspec.structs.replace(delivery, list_unsubscribe_mail=back)
        mail = await self._compose(delivery, eight_bit=self._eight_bit)
        return_path = back or mail.sender.address
        connection = await pool.take()
        try:
            if mail.eight_bit and not connection.eight_bit:
                self._eight_bit = False
                mail = await self._compose(delivery, eight_bit=False)
            return await connection.transmit(
                mail, return_path=return_path, answer_timeout_seconds=settings.answer_timeout_seconds
            )
        finally:
            pool.give_back(connection)

    async def _compose(self, delivery: OutgoingMessage, *, eight_bit: bool) -> mime.WireMail:
        sender, signer = self.settings.from_, self._signer
        if self._signing is None:
            return mime.compose(delivery, sender=sender, eight_bit=eight_bit, signer=signer)
        build = functools.partial(mime.compose, delivery, sender=sender, eight_bit=eight_bit, signer=signer)
        return await asyncio.get_running_loop().run_in_executor(self._signing, build)

    async def _connect(self) -> SmtpConnection:
        connection = await connect(self._login)
        self._eight_bit = connection.eight_bit
        return connection


def create(settings: Mapping[str, object]) -> EmailChannel:
    """Build the channel from its section of the settings; `ValueError` says which setting is wrong and how."""
    return EmailChannel(read_section(settings, EmailSettings, section="email"))


def signer_of(settings: EmailSettings) -> DkimSigner | None:
    """Who signs, with every key that is named; None without one. `ValueError`, with the mend, for keys that cannot be used."""
    sender = guard.mailbox(settings.from_).domain
    domain = settings.dkim_domain or sender
    keys: list[DkimKey] = []
    named: tuple[tuple[Kind, str, str | None], ...] = (
        ("rsa", settings.dkim_selector, settings.dkim_key_file),
        ("ed25519", settings.dkim_ed25519_selector, settings.dkim_ed25519_key_file),
    )
    for kind, selector, file in named:
        prefix = "dkim_" if kind == "rsa" else "dkim_ed25519_"
        if bool(selector) != bool(file):
            raise ValueError(
                f"The email settings need {prefix}selector and {prefix}key_file together, or neither; "
                "`anlass dkim-key` makes both."
            )
        if file:
            try:
                keys.append(load_key(file, kind=kind, selector=selector, domain=domain))
            except ValueError as error:
                raise ValueError(f"The email setting `{prefix}key_file` cannot be used: {error}.") from None
    if not keys:
        if settings.dkim_domain:
            raise ValueError(
                "The email setting `dkim_domain` is set and no key signs; name one with dkim_selector and dkim_key_file."
            )
        return None
    if len({key.selector.lower() for key in keys}) < len(keys):
        raise ValueError("The email settings name one selector for two DKIM keys; give each key a selector of its own.")
    if not aligned(domain, sender):
        raise ValueError(
            f"The email setting `dkim_domain` is {domain}, and mail comes from {sender}: DMARC does not take the one for "
            f"the other. Sign with {sender}, or send from {domain}."
        )
    return DkimSigner(keys)


def _login(settings: EmailSettings) -> Login:
    if (settings.username is None) != (settings.password is None):
        raise ValueError("The email settings need username and password together, or neither.")
    tls = settings.tls
    start_tls: bool | None = tls == "starttls"
    if tls == "auto":
        tls = "implicit" if settings.port == _PORT_IMPLICIT_TLS else "auto"
        if not _is_loopback(settings.host):
            start_tls = True if settings.password is not None else None
    return Login(
        host=settings.host,
        port=settings.port,
        local_hostname=settings.local_hostname or "",
        timeout_seconds=settings.timeout_seconds,
        username=settings.username,
        password=settings.password,
        implicit_tls=tls == "implicit",
        start_tls=start_tls,
    )


def _check_addresses(settings: EmailSettings) -> None:
    try:
        guard.mailbox(settings.from_)
        guard.check_value("the sender", settings.from_)
    except (ValueError, PermanentError) as error:
        mend = "write it as 'Shop <hello@shop.example>'"
        raise ValueError(f"The email setting `from` {error}; {mend}.") from None
    if settings.return_path and not _RETURN_PATH.match(settings.return_path):
        mend = "write it as 'bounces@shop.example' or 'b+{id}@bounces.shop.example'"
        raise ValueError(f"The email setting `return_path` is not an address; {mend}.")
    if (chars := local_part_chars(settings.return_path)) > LOCAL_CHARS_MAX:
        raise ValueError(
            f"The email setting `return_path` would have {chars} characters before the @, and {LOCAL_CHARS_MAX} are allowed; "
            "write less around {id}, as in 'b+{id}@bounces.shop.example'."
        )


def _tls_context(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"The email setting `ca_file` names {ca_file}, which cannot be used: {error}.") from error
    return context


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
