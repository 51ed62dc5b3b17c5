"""The sections of the settings: names, types, defaults and bounds.

Invariant: with the defaults nothing leaves this machine, and nobody but this machine is let in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from engine.settings.audit import AuditSection
from engine.settings.bounces import BouncesSection, mark_secret
from engine.settings.collecting import LOOPBACK, CollectorSection
from engine.settings.console import ConsoleSection
from engine.settings.kept_secrets import secrets_in
from engine.settings.letters import PrintSection
from engine.settings.mail_services import MailgunSection, PostmarkSection, SendgridSection, SesSection
from engine.settings.mailbox import MailboxSection
from engine.settings.newsletter import NewsletterSection
from engine.settings.phone import SmsSection
from engine.settings.push import PushSection
from engine.settings.section import CallbackSection, ChannelSection, Days, Port, Rate, Section, ServerPort
from engine.settings.task import TaskSection
from engine.settings.webhook import WebhookSection

SENDER_ON_LOOPBACK = "Anlass <anlass@localhost>"
SECRET_BYTES_MIN = 16

DATABASE_URL = "sqlite:///var/anlass.db"
JOURNAL_URL = "sqlite:///var/journal.db"


class EmailSection(ChannelSection):
    """The SMTP server mail goes to. Without a `host` no mail leaves: it goes to the local mailbox.

    `channels.mail.email` says what each means; the defaults that stand here are what `explain` shows.
    """

    SERVES: ClassVar[tuple[str, ...]] = ("email",)
    NEEDS_MARKS: ClassVar[bool] = True
    NOT_THE_ADAPTERS: ClassVar[frozenset[str]] = frozenset(
        {"domain_rate_per_second", "domain_connections"}
    )  # the dispatcher's

    host: str = ""
    port: ServerPort = 25
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls: Literal["auto", "none", "starttls", "implicit"] = "auto"
    ca_file: str | None = None
    from_: str = Field(default="", alias="from")
    return_path: str = ""
    service: Literal["", "ses", "sendgrid", "mailgun", "postmark"] = ""
    """The mail service behind `host`: mails tell it our id, so that its webhooks name the message."""
    timeout_seconds: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False)] = 30.0
    domain_rate_per_second: Rate = 0.0
    """Messages to each destination domain."""
    domain_connections: Annotated[int, Field(ge=0, le=500)] = 0
    """Mails under way to one destination domain; 0: all connections but a quarter."""
    dkim_domain: str = ""
    dkim_selector: str = ""
    dkim_key_file: Path | None = None
    dkim_ed25519_selector: str = ""
    dkim_ed25519_key_file: Path | None = None

    @property
    def signing(self) -> dict[str, object]:
        """The settings that sign, of other mail and of newsletters: always for the domain that the keys are published at."""
        names = (name for name in EmailSection.model_fields if name.startswith("dkim_"))
        told: dict[str, object] = {name: str(value) for name in names if (value := getattr(self, name))}
        if self.dkim_key_file or self.dkim_ed25519_key_file:
            told.setdefault("dkim_domain", self.from_.rpartition("@")[2].strip(" >"))
        return told

    @property
    def domain_limits(self) -> tuple[int, float]:
        """What the dispatcher holds to, for each destination domain."""
        return self.domain_connections, self.domain_rate_per_second

    @property
    def configured(self) -> bool:
        """Whether mail is to leave this machine."""
        return bool(self.host)

    def adapter(self, channel: str) -> dict[str, object]:
        """As of every channel; without a sender, the one of mail to this machine's own server."""
        return {**super().adapter(channel), "from": self.from_ or SENDER_ON_LOOPBACK, **self.signing}

    def missing(self) -> str:
        """A sender, or half of the login."""
        if self.configured and not self.from_ and self.host not in LOOPBACK:
            return "email.host is set and email.from is not. Set ANLASS_EMAIL__FROM='Shop <hello@shop.example>'."
        if (self.username is None) != (self.password is None):
            return (
                "email.username and the password are needed together, or neither. "
                "Set ANLASS_EMAIL__USERNAME, and ANLASS_EMAIL__PASSWORD or email.password_file."
            )
        return ""


class SharedMail(EmailSection):
    """Mail and newsletters through one server, which has one rate and so many connections for both."""

    SERVES: ClassVar[tuple[str, ...]] = ("email", "newsletter")
    NOT_THE_ADAPTERS: ClassVar[frozenset[str]] = EmailSection.NOT_THE_ADAPTERS | {"newsletter"}

    newsletter: dict[str, object] = Field(default_factory=dict)

    def adapter(self, channel: str) -> dict[str, object]:
        """The newsletter's with what it has of its own."""
        return {**super().adapter(channel), **(self.newsletter if channel == "newsletter" else {})}


class NewsletterMail(EmailSection):
    """Newsletters by themselves: a server, or a rate, of their own."""

    SERVES: ClassVar[tuple[str, ...]] = ("newsletter",)


def mail_sections(email: EmailSection, newsletter: NewsletterSection) -> dict[str, ChannelSection]:
    """Who mail and newsletters go through, by section."""
    given = newsletter.model_fields_set - {"password_file"}
    own = {name: getattr(newsletter, name) for name in given}
    if newsletter.host:
        own = {"from_": email.from_, **email.signing, **own}
        if newsletter.password is not None:
            own["password"] = newsletter.password
        provider = NewsletterMail.model_construct(_fields_set=set(own), **own)
        return {"email": email, "newsletter": provider}
    base = {name: getattr(email, name) for name in email.model_fields_set} | email.signing
    if given & {"rate_per_second", "connections"}:
        return {"email": email, "newsletter": NewsletterMail.model_construct(_fields_set={*base, *own}, **(base | own))}
    words = {"from" if name == "from_" else name: value for name, value in own.items()}
    return {"email": SharedMail.model_construct(_fields_set=set(base), **base, newsletter=words)}


class DatabaseSection(Section):
    """Where things are kept. `sqlite:///PATH` (a relative PATH counts from the project) is what `anlass run` needs; on Kafka the
    sink writes the journal there, or to `postgresql://user@host/name`.

    Of the log and the journal it keeps so many days (0: for ever). `synchronous` full survives a loss of power, too.
    """

    url: str = DATABASE_URL
    password: SecretStr | None = None
    password_file: Path | None = None
    synchronous: Literal["normal", "full"] = "normal"
    log_days: Days = 90
    journal_days: Days = 400

    @model_validator(mode="after")
    def _known_kind(self) -> DatabaseSection:
        if self.is_postgresql:
            parts = urlsplit(self.url)
            if parts.password or any("password" in name for name in parse_qs(parts.query)):
                raise ValueError(
                    "url holds a password; set ANLASS_DATABASE__PASSWORD, or name a file with password_file"
                )
        elif not self.url.startswith("sqlite:///") or not self.url.removeprefix("sqlite:///"):
            raise ValueError(
                f"url {self.url!r} is not recognised; write it as sqlite:///var/anlass.db or postgresql://user@host/name"
            )
        return self

    @property
    def is_postgresql(self) -> bool:
        """Whether `url` names a PostgreSQL server."""
        return self.url.startswith(("postgresql://", "postgres://"))


class KafkaSection(Section):
    """The cluster that the roles `worker`, `collector`, `dispatcher` and `sink` meet on (`ANLASS_KAFKA=host:port` is short for
    `bootstrap`). `partitions` bounds how many workers share the work, and cannot be changed once customers are known.
    """

    bootstrap: str = ""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = "anlass."
    partitions: Annotated[int, Field(ge=1, le=1_000)] = 12
    replication: Annotated[int, Field(ge=0, le=10)] = 0
    """Copies of each topic; 0: as many as there are brokers, at most three."""
    standbys: Annotated[int, Field(ge=0, le=5)] = 1
    session_timeout_seconds: Annotated[float, Field(ge=2, le=300, allow_inf_nan=False)] = 10.0
    instance: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = ""
    """A name of this process that stays the same over restarts, so that a quick restart moves no partition."""
    secret: SecretStr | None = None
    """What suppressed addresses and audited customers are remembered by. It stays when the secret of links is changed."""
    secret_file: Path | None = None
    folder: str = "var/kafka"
    """Where copies of the partitions' rows lie; relative to the project. Several processes may share it."""
    status_host: str = "127.0.0.1"
    status_port: Port = 0
    """What [console] host and port were called for a role on Kafka; still taken where they are set."""

    def status_door(self, console: ConsoleSection) -> tuple[str, int, bool]:
        """Where a role's operators' port listens: host, port, and whether the port was asked for."""
        asked = self.model_fields_set
        host = self.status_host if "status_host" in asked and "host" not in console.model_fields_set else console.host
        if "status_port" in asked and "port" not in console.model_fields_set:
            return host, self.status_port, True
        return host, console.port, "port" in console.model_fields_set

    @property
    def configured(self) -> bool:
        """Whether there is a cluster."""
        return bool(self.bootstrap)


SectionKind = TypeVar("SectionKind", bound=Section)


class Settings(BaseModel):
    """All settings of one project. `more` holds the sections of channels that other packages add, as written."""

    model_config = ConfigDict(frozen=True)

    project: Path
    collector: CollectorSection = CollectorSection()
    console: ConsoleSection = ConsoleSection()
    email: EmailSection = EmailSection()
    sms: SmsSection = SmsSection()
    newsletter: NewsletterSection = NewsletterSection()
    database: DatabaseSection = DatabaseSection()
    kafka: KafkaSection = KafkaSection()
    audit: AuditSection = AuditSection()
    print: PrintSection = PrintSection()
    push: PushSection = PushSection()
    task: TaskSection = TaskSection()
    webhook: WebhookSection = WebhookSection()
    bounces: BouncesSection = BouncesSection()
    mailbox: MailboxSection = MailboxSection()
    ses: SesSection = SesSection()
    sendgrid: SendgridSection = SendgridSection()
    mailgun: MailgunSection = MailgunSection()
    postmark: PostmarkSection = PostmarkSection()
    more: dict[str, dict[str, Any]] = {}
    later: tuple[str, ...] = ()
    """Where settings stand that no part of this version reads."""
    shared: tuple[str, ...] = ()
    """What stands in anlass.toml and should not."""

    @property
    def database_path(self) -> Path:
        """The SQLite file, absolute; where it would be by default when the database is another one."""
        url = DATABASE_URL if self.database.is_postgresql else self.database.url
        return (self.project / url.removeprefix("sqlite:///")).resolve()

    @property
    def journal_url(self) -> str:
        """The journal's database on Kafka, with its password: what `[database] url` names, by default `var/journal.db`."""
        database = self.database
        if not database.is_postgresql:
            return JOURNAL_URL if database.url == DATABASE_URL else database.url
        if database.password is None:
            return database.url
        parts = urlsplit(database.url)
        login = f"{parts.username or 'anlass'}:{quote(database.password.get_secret_value(), safe='')}"
        return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()

    @property
    def kafka_folder(self) -> Path:
        """Where copies of the partitions' rows lie, absolute."""
        return (self.project / self.kafka.folder).resolve()

    @property
    def channel_sections(self) -> dict[str, ChannelSection]:
        """The sections that configure a provider, by name."""
        return self._of_kind(ChannelSection) | mail_sections(self.email, self.newsletter)

    @property
    def callback_sections(self) -> dict[str, CallbackSection]:
        """The sections that hold what callbacks are checked with, by name."""
        return self._of_kind(CallbackSection)

    def _of_kind(self, kind: type[SectionKind]) -> dict[str, SectionKind]:
        sections = {name: getattr(self, name) for name in MODELS}
        return {name: section for name, section in sections.items() if isinstance(section, kind)}

    def mark_secret(self) -> str:
        """What return paths are marked with. Raises SettingsError as `link_secret`."""
        return mark_secret(self.link_secret())

    def hash_secret(self) -> bytes:
        """What addresses and customers are remembered by on a cluster: `kafka.secret`, else the oldest secret of links."""
        return self.kafka.secret.get_secret_value().encode() if self.kafka.secret else self.link_secret()

    def link_secret(self) -> bytes:
        """The oldest of `link_secrets`: what must stay the same when links are signed with a new one is made from it."""
        return self.link_secrets()[-1]

    def link_secrets(self) -> tuple[bytes, ...]:
        """What signs the links in mails (the first) and verifies them (all): `collector.secrets` and `collector.secret`, else
        those in `var/link-secret`, one a line; one is made at first use.

        Raises SettingsError when they cannot be read or made, or one is too short.
        """
        if said := self.collector.link_secrets:
            return said
        return secrets_in(self.database_path.parent / "link-secret", bytes_min=SECRET_BYTES_MIN)


MODELS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}
"""The sections by name, as they stand in `Settings`."""
