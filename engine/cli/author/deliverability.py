"""`anlass check --deliverability`: which records mail needs, as they are to be published, and with `--dns` what is there.

Invariant: DNS is asked only with `--dns`, and never for longer than a minute or two; without an answer the status is 3.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from engine.cli.output import json_line
from engine.errors import ServiceUnreachable, UsageError

if TYPE_CHECKING:
    from dns.resolver import Resolver

    from channels.mail.deliverability import Finding, Identity, Need
    from engine.project.opening import Project

_PORT = 53


def report(root: Path, *, ask_dns: bool, nameserver: str, as_json: bool) -> int:
    """Prints what is needed and, with `ask_dns`, what is there; status 1 when something is missing or wrong."""
    from channels.mail.deliverability import needs, rules
    from engine import bootstrap

    who = _identity(bootstrap.open_project(root))
    needed = needs(who)
    findings = rules(who)
    if ask_dns:
        findings = [*_looked_up(who, nameserver), *findings]
    if as_json:
        for each in (*needed, *findings):
            click.echo(json_line({"kind": type(each).__name__.lower(), **msgspec.structs.asdict(each)}))
    else:
        _print(who, needed, findings)
    bad = sum(each.verdict in {"missing", "wrong"} for each in findings)
    if not as_json and ask_dns:
        click.echo(f"\n{bad} to mend." if bad else "\nNothing is missing or wrong.", err=bool(bad))
    return 1 if bad and ask_dns else 0


def _identity(project: Project) -> Identity:
    """Whom the project's mail comes from. Raises UsageError or SettingsError."""
    from channels.guard import mailbox
    from channels.mail.deliverability import Identity
    from channels.mail.email import EmailSettings, signer_of
    from engine.errors import SettingsError

    email = project.settings.email
    if not email.from_:
        raise UsageError(
            "There is no sender yet, so nobody can say what its domain needs.",
            mend="Set ANLASS_EMAIL__FROM='Shop <hello@shop.example>'.",
        )
    try:
        domain = mailbox(email.from_).domain
        told = {name: value for name, value in email.adapter("email").items() if name.startswith("dkim_")}
        signer = signer_of(EmailSettings(host=email.host or "localhost", from_=email.from_, **told))  # type: ignore[arg-type]
    except ValueError as error:
        raise SettingsError(str(error), mend="Change the settings of [email].") from error
    return Identity(
        domain=domain,
        return_domain=email.return_path.rpartition("@")[2] or domain,
        host=email.host,
        tls=email.tls,
        keys=() if signer is None else signer.keys,
        public_url=project.settings.collector.public_url,
        senders=tuple(sorted(_senders(project) - {domain})),
    )


def _senders(project: Project) -> set[str]:
    """The domains that templates and steps send mail from."""
    from channels.guard import mailbox
    from engine.core.journey.workflow import Send
    from engine.dispatch.templates.template_problem import TemplateError

    written = {
        op.sender for flow in project.catalog.workflows.values() for op in flow.ops.values() if isinstance(op, Send)
    }
    for name in project.templates.names("email"):
        try:
            template = project.templates.find("email", name)
            written.add(template.render(template.sample_context()).from_)
        except TemplateError:
            continue  # `anlass check` says what is wrong with it
    found = set()
    written.add(project.settings.newsletter.from_)
    for sender in written - {""}:
        try:
            found.add(mailbox(sender).domain)
        except ValueError:
            continue  # not an address until it is rendered for somebody
    return found


def _looked_up(who: Identity, nameserver: str) -> list[Finding]:
    from channels.mail.dns import Look, Unreachable

    try:
        return Look(who, _resolver(nameserver)).findings()
    except Unreachable as error:
        raise ServiceUnreachable(
            str(error), mend="Look at the network, name one with --nameserver, or leave --dns out."
        ) from error


def _resolver(nameserver: str) -> Resolver | None:
    """A resolver that asks this server (`ADDRESS` or `ADDRESS:PORT`); None: the machine's own. Raises UsageError."""
    from dns.resolver import Resolver

    if not nameserver:
        return None
    address, _, port = nameserver.rpartition(":") if nameserver.count(":") == 1 else (nameserver, "", "")
    resolver = Resolver(configure=False)
    try:
        resolver.nameservers = [address or nameserver]
        resolver.port = int(port or _PORT)
    except ValueError as error:
        raise UsageError(f"{nameserver!r} is not a name server.", mend="Write its address: 192.0.2.53.") from error
    return resolver


def _print(who: Identity, needed: list[Need], findings: list[Finding]) -> None:
    click.echo(f"Mail comes from {who.domain}, bounces go to {who.return_domain}.\n\nRecords that it needs:")
    for need in needed:
        click.echo(f"\n{need.topic}  {need.name}\n  {need.says}")
        if need.record:
            click.echo(f"  {need.record}")
    click.echo("\nWhat receivers will find:")
    width = max(len(each.topic) for each in findings)
    for each in findings:
        mend = f" {each.mend}" if each.mend else ""
        click.echo(f"  {each.verdict:8}{each.topic:{width}}  {each.name}: {each.says}.{mend}")
