"""Opens an SMTP session: aiosmtplib connects, negotiates TLS, greets and logs in; then `SmtpConnection` takes over.

Invariant: whatever goes wrong here is a `TransientError` with throttle "provider": it is about the server or our settings,
never about one message or one address.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

import aiosmtplib
import msgspec

from channels.contract import TransientError
from channels.delivery import enhanced_status, without_addresses
from channels.mail.smtp import SmtpConnection


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach and enter a server."""

    host: str
    port: int
    local_hostname: str
    timeout_seconds: float
    username: str | None = None
    password: str | None = None
    implicit_tls: bool = False
    start_tls: bool | None = None  # None: when the server offers it
    tls_context: ssl.SSLContext | None = None


async def connect(login: Login) -> SmtpConnection:
    """Connect, negotiate TLS, greet and log in.

    Nothing that goes wrong here is about one message, and all of it heals once the server or the settings do: always
    `TransientError` with throttle "provider"; its `code` is "connect", "tls", "auth" or the server's own.
    """
    client = aiosmtplib.SMTP(
        hostname=login.host,
        port=login.port,
        username=login.username,
        password=login.password,
        local_hostname=login.local_hostname,
        timeout=login.timeout_seconds,
        use_tls=login.implicit_tls,
        start_tls=False if login.implicit_tls else login.start_tls,
        tls_context=login.tls_context,
    )
    try:
        await client.connect()
        if client.is_ehlo_or_helo_needed:
            try:
                await client.ehlo()
            except aiosmtplib.SMTPHeloError:
                await client.helo()
    except (aiosmtplib.SMTPException, OSError, ValueError) as error:
        client.close()
        raise _session_error(login, error) from error
    except BaseException:  # a cancelled connect leaves nothing open
        client.close()
        raise
    transport = cast("asyncio.Transport | None", client.transport)  # uvloop's are none by inheritance
    if transport is None or transport.is_closing():
        raise TransientError("the server closed the connection after the greeting", code="connect", throttle="provider")
    connection = SmtpConnection(transport, client.esmtp_extensions, timeout_seconds=login.timeout_seconds)
    transport.set_protocol(connection)
    return connection


def _session_error(login: Login, error: Exception) -> TransientError:
    server = f"{login.host}:{login.port}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        code = f"auth {error.code} {enhanced_status(error.message) or ''}".rstrip()
        reason = (
            f"{server} refused the login ({error.code} {without_addresses(error.message)}); check username and password"
        )
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        code = f"{error.code} {enhanced_status(error.message) or ''}".rstrip()
        reason = f"{server} refused the session: {error.code} {without_addresses(error.message)}"
    elif isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        code, reason = "tls", f"no TLS with {server}: {error}"
    elif isinstance(error, (aiosmtplib.SMTPTimeoutError, OSError)):
        code, reason = "connect", f"{server} cannot be reached: {error}"
    else:
        code = "auth" if "AUTH" in str(error) else "tls" if "TLS" in str(error) else "connect"
        reason = f"no session with {server}: {error}"
    return TransientError(reason, code=code, throttle="provider")
