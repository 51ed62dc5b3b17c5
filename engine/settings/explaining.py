"""Says in words how each part will work with the settings, for `anlass check --settings`.

Invariant: no secret is in what is said.
"""

from __future__ import annotations

from engine.settings.collecting import CollectorSection
from engine.settings.console import ConsoleSection
from engine.settings.exposure import behind_a_stranger, is_loopback
from engine.settings.phone import explain_phone
from engine.settings.sections import SENDER_ON_LOOPBACK, DatabaseSection, EmailSection, Settings
from engine.settings.serving import explain_serving


def explain(settings: Settings) -> list[str]:
    """One line for each part: how it will work, and what is missing for it to do more. For `anlass check --settings`."""
    collector, email = settings.collector, settings.email
    keys = _keys(collector)
    lines = [f"collector: listens on {collector.bind}:{collector.port}, {keys}"]
    lines += [f"collector: {said}" for said in settings.shared]
    if collector.keyless:
        lines.append("collector: to be reached from outside, set ANLASS_COLLECTOR__WRITE_KEYS")
    lines.append(f"collector: links in mails begin with {collector.base_url}")
    if collector.trusted_proxies:
        lines.append(f"collector: believes X-Forwarded-For of {', '.join(collector.trusted_proxies)}")
    if unknown := behind_a_stranger(collector):
        lines.append(f"collector: {unknown}")
    lines += _console(settings.console)
    if email.configured:
        lines.append(f"email: sends through {email.host}:{email.port} (tls {email.tls})")
        if not email.from_:
            lines.append(
                f"email: no ANLASS_EMAIL__FROM; mail to this machine's own server comes from {SENDER_ON_LOOPBACK}"
            )
        if not collector.base_url.startswith("https://"):
            lines.append("email: one-click unsubscribe needs https; set ANLASS_COLLECTOR__PUBLIC_URL")
    else:
        lines.append("email: no ANLASS_EMAIL__HOST")
    lines.append(_rates(email))
    lines += settings.webhook.explained()
    lines += _bounces(settings)
    lines += explain_phone(settings.sms, public_url=collector.public_url)
    lines.append(_newsletter(settings))
    lines += explain_serving(settings)
    where = settings.database.url if settings.database.is_postgresql else settings.database_path
    lines += [f"database: {where}", _keeping(settings.database), *_kafka(settings)]
    lines += [f"{name}: an adapter of another package; its settings are passed on to it" for name in settings.more]
    lines += [f"{name}: not used by this version" for name in settings.later]
    return lines


def _keys(collector: CollectorSection) -> str:
    """How many may send, of each kind."""
    if collector.keyless:
        return "no write keys: only programs on this machine are let in"
    kinds = [key.kind for key in collector.all_keys]
    said = [f"{len(collector.write_keys)} write keys"] if collector.write_keys else []
    counts = (("server", kinds.count("server") - len(collector.write_keys)), ("browser", kinds.count("browser")))
    said += [f"{count} {kind} keys" for kind, count in counts if count]
    revoked = sum(key.revoked for key in collector.keys)
    return ", ".join(said + [f"{revoked} revoked"] * bool(revoked))


def _console(console: ConsoleSection) -> list[str]:
    """Where operators look."""
    lines = [f"console: mailbox, metrics and health are on {console.host}:{console.port}, for operators only"]
    if not is_loopback(console.host):
        lines.append("console: there is no login yet; let nobody but operators and monitoring reach that port")
    return lines


def _bounces(settings: Settings) -> list[str]:
    """Where mails that come back are taken in."""
    bounces, lines = settings.bounces, []
    if bounces.listen:
        lines.append(f"bounces: listens by {bounces.listen} on {bounces.host}:{bounces.port}")
    if bounces.mailbox:
        where = f"{bounces.mailbox_host}:{bounces.port_of_mailbox}"
        lines.append(f"bounces: reads the mailbox {where} by {bounces.mailbox} every {bounces.poll_seconds:g} seconds")
    believed = [
        name for name in ("ses", "sendgrid", "mailgun", "postmark") if settings.callback_sections[name].callbacks("")
    ]
    lines += [f"bounces: webhooks of {name} are believed at /callbacks/{name}/…" for name in believed]
    if not lines and settings.email.configured:
        lines.append("bounces: none are read; set ANLASS_BOUNCES__LISTEN or ANLASS_BOUNCES__MAILBOX")
    if (bounces.listen or bounces.mailbox) and settings.email.configured and "{id}" not in settings.email.return_path:
        lines.append(
            "bounces: email.return_path without {id} does not name the message: b+{id}@bounces.shop.example does"
        )
    return lines


def _kafka(settings: Settings) -> list[str]:
    """Where the roles meet, and what is missing for them to be several."""
    kafka = settings.kafka
    if not kafka.configured:
        return ["kafka: none; `anlass run` needs none. For several machines set ANLASS_KAFKA=host:port"]
    copies = f"{kafka.standbys} standby copies" if kafka.standbys else "no standby copy"
    lines = [f"kafka: {kafka.bootstrap}, topics {kafka.prefix}*, {kafka.partitions} partitions, {copies}"]
    if not settings.collector.link_secrets:
        lines.append("kafka: several machines need one secret for links; set ANLASS_COLLECTOR__SECRET on all of them")
    return lines


def _newsletter(settings: Settings) -> str:
    """Through whom newsletters go, and at which rate."""
    newsletter, email = settings.newsletter, settings.email
    if newsletter.host:
        where = f"sends through {newsletter.host}:{newsletter.port}"
    else:
        where = "goes where email goes" if email.configured else "has no server, as email has none"
    rate = newsletter.rate_per_second
    if rate is None:
        said = "shares its rate" if not newsletter.host and newsletter.connections is None else "no limit on the rate"
    else:
        said = f"at most {rate:g} messages a second" if rate else "no limit on the rate"
    sender = f", from {newsletter.from_}" if newsletter.from_ else ""
    return f"newsletter: {where}, {said}{sender}"


def _rates(email: EmailSection) -> str:
    """How fast mail goes, and how much of it is open when a process dies."""
    rate, domain_rate = email.rate_per_second, email.domain_rate_per_second
    said = [f"at most {rate:g} messages a second"] * bool(rate)
    said += [f"at most {domain_rate:g} a second to each domain"] * bool(domain_rate)
    rates = ", ".join(said) or "no limit on the rate"
    if not email.configured:
        return f"email: {rates}" + (", which holds only with ANLASS_EMAIL__HOST" if said else "")
    return f"email: {rates}, {email.connections} under way at once"


def _keeping(database: DatabaseSection) -> str:
    """What survives a loss of power, and what is forgotten when."""
    log, journal = (f"{days} days" if days else "for ever" for days in (database.log_days, database.journal_days))
    lost = "the last second can be lost" if database.synchronous == "normal" else "nothing is lost"
    return (
        f"database: synchronous {database.synchronous} (when the power fails {lost}); keeps the log {log},"
        f" the journal {journal}"
    )
