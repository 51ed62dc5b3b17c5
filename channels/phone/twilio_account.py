"""One account at Twilio: its settings, its client, and what its answers mean in the words of the contract.

Invariant: a message that may have been accepted is never said to be refused: whatever comes after the request left and is no
answer of Twilio's own (a timeout, a 5xx, a broken body) is `UnknownOutcome`. Twilio's client is never told to repeat a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
import logging
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Annotated, Any, Final, Literal

import aiohttp
import msgspec
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException
from twilio.http.async_http_client import AsyncTwilioHttpClient
from twilio.rest import Client

from channels.contract import ChannelError, PermanentError, TransientError, UnknownOutcome, Verdict
from channels.delivery import without_addresses
from channels.section import read_section

NUMBER: Final = re.compile(r"\+[1-9][0-9]{6,14}")
ALPHANUMERIC: Final = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}")
SHORT_CODE: Final = re.compile(r"[0-9]{3,8}")
_NUMBER_WITHIN: Final = re.compile(r"\+?\d[\d ()/-]{5,}\d")
_SID: Final = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
_KNOWN_MAX: Final = 20_000
SKEW_MS: Final = 60_000
"""By how much Twilio's clock may differ from ours."""
_TOO_MANY: Final = 429
_SERVER_FAULT: Final = 500
_REQUEST_TIMEOUT: Final = 408

OPTED_OUT: Final = 21610
RATE_EXCEEDED: Final = frozenset({20429, 63018})
NO_SUCH_NUMBER: Final = frozenset({21211, 21614, 21635, 30006, 63003, 63024})
MAY_PASS: Final = frozenset({30001, 30003})
"""Of the network at that moment: a full queue, a phone that is off."""
UNCLEAR: Final = frozenset({21612, 30005, 30008, 30009})
STOP_AND_ALERT: Final = frozenset(
    {
        30004, 30007, 30024, 30032, 30034,  # blocked or filtered; a sender that is not registered
        20003, 20005, 20006, 10001, 30002,  # login, account
        21212, 21603, 21606, 21607, 21608, 21659, 21660, 21661, 21703, 21705, 21910, 63007, 63013,  # the sender
        21213, 21609,  # a call's sender, the address for reports
    }
)  # fmt: skip
"""Not among them: countries that are not enabled (21408), so that one strange number does not stop a campaign."""
_WORDS: Final = {
    OPTED_OUT: "the number has opted out at Twilio",
    21211: "the number does not exist", 21614: "the number takes no text messages", 21635: "the number is a landline",
    30006: "the number is a landline or cannot be reached", 30003: "the phone is off or out of reach",
    30004: "the message was blocked", 30005: "the phone is not known", 30007: "the carrier filtered the message",
    30008: "no reason was given", 63016: "WhatsApp takes free text only within 24 hours of an answer",
}  # fmt: skip

# Twilio's client writes addresses and contents to its log.
_silent = logging.getLogger("channels.twilio.silent")
_silent.disabled = True
_retry_after: contextvars.ContextVar[str] = contextvars.ContextVar("retry_after", default="")


class TwilioSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[sms]`: the account, and the senders of the three channels that go through it."""

    account_sid: str
    auth_token: str
    from_: str = msgspec.field(default="", name="from")
    """A number, a short code, or up to eleven letters and digits (then nobody can answer)."""
    messaging_service: str = ""
    """MG…: chooses the sender. With `from` as well, that one of its senders."""
    whatsapp_from: str = ""
    whatsapp_templates: dict[str, str] = {}
    """Template → the HX… that WhatsApp approved; its variables are the step's `data`."""
    voice_from: str = ""
    voice_language: str = ""
    """As in de-DE; by default the message's own language."""
    base_url: str = ""
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=120)] = 20.0
    connections: Annotated[int, msgspec.Meta(ge=1, le=500)] = 10
    transliterate: bool = False
    """Say it in GSM-7 where that is possible: straight quotes, plain dashes, no accents."""
    opt_out_link: Literal["auto", "always", "never"] = "auto"
    """Put the link to unsubscribe under a text that has none: by default when the sender cannot be answered."""
    segments_max: Annotated[int, msgspec.Meta(ge=1, le=10)] = 10
    """A longer text is not sent."""
    public_url: str = ""
    """Where Twilio reaches `/callbacks/twilio/…`; "" when it cannot: then nothing is heard of deliveries."""

    def callback(self, source: str, message_id: str) -> str | None:
        """Where reports about this message are to go."""
        return (
            f"{self.public_url.rstrip('/')}/callbacks/twilio/{source}?message={message_id}" if self.public_url else None
        )


class TwilioAccount:
    """The client, from `open` to `close`, and the ids that it was given: so that no message is taken for another one."""

    def __init__(self, settings: TwilioSettings) -> None:
        """Raises ValueError, with the mend, for settings that cannot be used."""
        for name, value, form in (
            ("from", settings.from_, (NUMBER, ALPHANUMERIC, SHORT_CODE)),
            ("whatsapp_from", settings.whatsapp_from, (NUMBER,)),
            ("voice_from", settings.voice_from, (NUMBER,)),
        ):
            if value and not any(each.fullmatch(value) for each in form):
                raise ValueError(f"[sms] {name} {value!r} is not a sender; write a number as +4915112345678.")
        if settings.messaging_service and not _SID.fullmatch(settings.messaging_service):
            raise ValueError("[sms] messaging_service is not an id; copy it from Twilio's console, it begins with MG.")
        self.settings = settings
        self._http: AsyncTwilioHttpClient | None = None
        self._client: Client | None = None
        self._slots = asyncio.Semaphore(settings.connections)
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._known: OrderedDict[str, None] = OrderedDict()

    async def open(self) -> None:
        """Makes the client; nothing is asked of Twilio. Idempotent."""
        if self._client is not None:
            return
        settings = self.settings
        # The client hands `timeout=None` on to every request, which leaves aiohttp's session to decide: here it does.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=min(10.0, settings.timeout_seconds))
        http = _Http(pool_connections=False, logger=_silent)
        http.session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0))
        client = Client(settings.account_sid, settings.auth_token, http_client=http, environment=_NO_ENVIRONMENT)
        if settings.base_url:
            client.api.base_url = settings.base_url.rstrip("/")
        self._http, self._client = http, client

    async def close(self) -> None:
        """Lets go of the connections once the calls under way have ended. Idempotent."""
        self._client = None
        await self._idle.wait()
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[Any]:
        """Twilio's `api.v2010.account`, for one request; what goes wrong leaves as an error of the contract."""
        if self._client is None:
            raise TransientError("the channel is not open", code="closed")
        self._under_way += 1
        self._idle.clear()
        try:
            async with self._slots:  # whoever waits here has not sent anything: the time counts from here on
                client = self._client
                if client is None:
                    raise TransientError("the channel was closed", code="closed")
                try:
                    async with asyncio.timeout(self.settings.timeout_seconds):
                        yield client.api.v2010.account
                except ChannelError:
                    raise
                except Exception as error:
                    raise _translated(error, self.settings.timeout_seconds) from error
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def remember(self, sid: str) -> None:
        """This one of Twilio's ids belongs to a message."""
        self._known[sid] = None
        while len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)

    def unanswered(self, listed: Iterable[Any], after: dt.datetime) -> Any | None:
        """Of what Twilio lists, the earliest that we sent since then and that was answered for no other message."""
        found = [
            one
            for one in listed
            if one.sid not in self._known
            and str(one.direction or "").startswith("outbound")
            and (one.date_created is None or one.date_created >= after)
        ]
        return min(found, key=lambda one: (one.date_created or after, one.sid), default=None)


def listed_after(since_ms: int) -> dt.datetime:
    """From when on a listing may have what was sent at `since_ms` or later."""
    return dt.datetime.fromtimestamp((since_ms - SKEW_MS) / 1_000, dt.UTC)


def read_settings(settings: Mapping[str, object]) -> TwilioSettings:
    """The settings of the section. Raises ValueError that says which one is wrong."""
    return read_section(settings, TwilioSettings, section="sms")


def verdict_of(code: int) -> Verdict:
    """What one of Twilio's error codes says about the number, in an answer or in a report."""
    if code == OPTED_OUT:
        return Verdict.OPT_OUT
    if code in NO_SUCH_NUMBER:
        return Verdict.SUPPRESS
    if code in STOP_AND_ALERT:
        return Verdict.OUR_FAULT
    return Verdict.SOFT if code in MAY_PASS | UNCLEAR else Verdict.MESSAGE


def words_of(code: int) -> str:
    """The code in a sentence's words; "" when it has none here."""
    return _WORDS.get(code, "")


def refused(status: int, code: int, message: str) -> ChannelError:
    """What an answer that is not a success means."""
    words = words_of(code) or _NUMBER_WITHIN.sub("<number>", without_addresses(message))[:200]
    reason = f"Twilio answered {status} ({code}): {words}".rstrip(": ")
    if status == _TOO_MANY or code in RATE_EXCEEDED:
        return TransientError(
            reason, code=str(code), retry_after_seconds=_seconds(_retry_after.get()), throttle="provider"
        )
    if status >= _SERVER_FAULT or status == _REQUEST_TIMEOUT:
        return UnknownOutcome(reason)
    if code in MAY_PASS:
        return TransientError(reason, code=str(code))
    if status in {401, 403}:
        return PermanentError(reason, code=str(code), address_verdict=Verdict.OUR_FAULT)
    return PermanentError(reason, code=str(code), address_verdict=verdict_of(code))


class _Http(AsyncTwilioHttpClient):  # type: ignore[misc]  # twilio ships no types
    """Twilio's own; it also notes how long to wait, which its errors do not tell."""

    async def request(self, *args: Any, **named: Any) -> Any:
        _retry_after.set("")
        response = await super().request(*args, **named)
        _retry_after.set(str((response.headers or {}).get("Retry-After", "")))
        return response


_NO_ENVIRONMENT: Final = {"TWILIO_REGION": ""}
"""Not empty, or the client would look at this process's own variables."""


def _translated(error: Exception, timeout_seconds: float) -> ChannelError:
    match error:
        case TwilioServiceException():
            return refused(int(error.status), int(error.code), str(error.title))
        case TwilioRestException():
            code = error.code if isinstance(error.code, int) else error.status
            return refused(int(error.status), int(code), str(error.msg).partition(": ")[2])
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return TransientError("Twilio cannot be reached", code="connect", throttle="provider")
        case TimeoutError():
            return UnknownOutcome(f"Twilio gave no answer within {timeout_seconds:g} s")
        case aiohttp.ClientError() | TwilioException() | ValueError() | KeyError() | TypeError():
            return UnknownOutcome(f"Twilio's answer broke off or is not an answer ({type(error).__name__})")
        case _:
            raise error


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= 86_400 else None  # noqa: PLR2004 - a day
