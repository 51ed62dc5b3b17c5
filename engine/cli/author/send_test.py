"""`anlass send-test`: one real message through the configured channel, to see how it looks where it arrives.

Invariant: nothing is decided, counted or recorded about a customer, and the links in it lead to no customer's consent.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import click
import msgspec

from engine.cli.options import project_folder, project_option, sentence
from engine.cli.output import quiet_log
from engine.errors import AnlassError, NotFound, ServiceUnreachable, SettingsError, UsageError

if TYPE_CHECKING:
    from channels.contract import OutgoingMessage
    from engine.bootstrap import Project
    from engine.dispatch.templates.render import Template

_NOBODY = "send-test"


@click.command("send-test")
@click.argument("template")
@click.option(
    "--to", "address", metavar="ADDRESS", required=True, help="Where it goes: an email address, a phone number."
)
@click.option(
    "--as", "customer", metavar="CUSTOMER", default="", help="With this customer's traits instead of made-up data."
)
@click.option("--locale", default="", help="The language, such as de or de-AT.")
@click.option("--channel", default="", help="When several channels have a template of this name.")
@project_option
def send_test(template: str, address: str, **more: Any) -> None:
    """Send one real message from a template, with made-up data or as a customer would get it.

    TEMPLATE is a name, or CHANNEL/NAME. It goes through the channel that is configured; without one, to the local mailbox.

    Examples:
      anlass send-test welcome --to me@shop.example
      anlass send-test email/cart-reminder --to me@shop.example --as ana
      anlass send-test welcome --to me@shop.example --locale de
    """
    from engine import bootstrap
    from engine.core.consent.may_send import clean_address

    quiet_log()
    project = bootstrap.open_project(project_folder(more["folder"]))
    channel, _, name = template.rpartition("/")
    channel = _channel(project, name, channel or more["channel"])
    if not clean_address(address, channel):
        raise UsageError(
            f"{address!r} is not an address for {channel}.", mend="Write it as me@shop.example or +4915112345678."
        )
    given = asyncio.run(_traits(project, more["customer"])) if more["customer"] else {}
    given |= _links_of_nobody(project)
    locale = more["locale"] or str(given.get("customer", {}).get("locale", ""))
    found = project.templates.find(channel, name, locale=locale)
    outgoing = _message(found, address, channel=channel, given=given)
    outgoing = msgspec.structs.replace(outgoing, purpose=_purpose(project, channel, name) or outgoing.purpose)
    where = asyncio.run(_send(project, channel, outgoing))
    click.echo(f"Sent {found.file} to {address} {where}")


def _channel(project: Project, name: str, wanted: str) -> str:
    """The channel that is meant. Raises NotFound or UsageError."""
    from engine.bootstrap import channel_names
    from engine.core.channel import CHANNELS
    from engine.definition.problem import nearest

    templates = project.templates
    if wanted:
        if name not in templates.names(wanted):
            hint = nearest(name, templates.names(wanted))
            raise NotFound(sentence(f"There is no template `{wanted}/{name}`{hint}"))
        return wanted
    channels = sorted({*CHANNELS, *channel_names(project.catalog)})
    having = [channel for channel in channels if name in templates.names(channel)]
    if not having:
        known = [each for channel in channels for each in templates.names(channel)]
        raise NotFound(sentence(f"There is no template `{name}`{nearest(name, known)}"))
    if len(having) > 1 and "email" not in having:
        raise UsageError(f"{', '.join(having)} have a template `{name}`.", mend=f"Write {having[0]}/{name}.")
    return "email" if "email" in having else having[0]


async def _traits(project: Project, customer: str) -> dict[str, Any]:
    """What a template sees of this customer. Raises NotFound."""
    from engine import bootstrap

    state = await bootstrap.ask(project.settings.project, lambda reader: reader.state(customer))
    if state is None:
        raise NotFound(f"There is no customer {customer!r}.", mend="Leave --as out to send it with made-up data.")
    return {"customer": {**state.traits, "id": state.id}}


def _links_of_nobody(project: Project) -> dict[str, str]:
    """Links that lead where a customer's do, so that receivers judge the same mail; their token is nobody's and opens nothing."""
    from engine.dispatch.templates.sample import ADDRESSES

    base = project.settings.collector.base_url
    return {name: f"{base}/{'u' if name == 'unsubscribe_url' else 'me'}/{_NOBODY}" for name in ADDRESSES}


def _purpose(project: Project, channel: str, template: str) -> str:
    """What a workflow sends the template for: one that needs consent, if there is one; "" when none sends it."""
    from engine.core.journey.workflow import Send

    policy = project.catalog.policy
    found = {
        op.purpose or workflow.purpose
        for workflow in project.catalog.workflows.values()
        for op in workflow.ops.values()
        if isinstance(op, Send) and op.template == template and channel in op.channels
    }
    needy = [name for name in found if name in policy.purposes and policy.purposes[name].consent != "none"]
    return min(needy or found, default="")


def _message(template: Template, address: str, *, channel: str, given: dict[str, Any]) -> OutgoingMessage:
    from channels.contract import OutgoingMessage
    from engine.clock import SystemClock

    context = template.sample_context(given)
    rendered = template.render(context)
    return OutgoingMessage(
        id=secrets.token_hex(16),
        channel=channel,
        to=address,
        from_=rendered.from_,
        reply_to=rendered.reply_to,
        subject=rendered.subject,
        html=rendered.html or None,
        text=rendered.text,
        date_ms=SystemClock().now_ms(),
        # As customers get it; nobody's, like the link in it.
        list_unsubscribe_url=context["unsubscribe_url"]
        if "unsubscribe_url" in template.names() and rendered.subject
        else None,
    )


async def _send(project: Project, channel: str, outgoing: OutgoingMessage) -> str:
    """Sends it; returns how it went. Raises ServiceUnreachable, SettingsError or an AnlassError with the provider's words."""
    from channels.contract import ChannelError, PermanentError, Verdict
    from engine.bootstrap import local_mailbox, open_channels

    mailbox = local_mailbox(project.settings)
    adapter = open_channels(project.settings, [channel], mailbox).get(channel)
    if adapter is None:
        mailbox.close()
        raise SettingsError(
            f"Nothing is set up for the channel {channel}.",
            mend=f"`anlass check --settings` says what is missing; ANLASS_MAILBOX__CHANNELS={channel} keeps it on this machine.",
        )
    try:
        await adapter.open()
        receipt = await adapter.send(outgoing)
    except ValueError as error:
        raise SettingsError(str(error), mend=f"Change the settings of [{channel}].") from error
    except PermanentError as error:
        mend = f"Look at the settings of [{channel}]." if error.address_verdict is Verdict.OUR_FAULT else None
        raise AnlassError(f"It was refused for good ({error.code}): {error.reason.rstrip('.')}.", mend=mend) from error
    except ChannelError as error:
        raise ServiceUnreachable(
            f"It was not sent: {error.reason.rstrip('.')}.", mend=f"Look at the settings of [{channel}], and try again."
        ) from error
    finally:
        await adapter.close()
        mailbox.close()
    if channel == "email" and project.settings.email.configured:
        email = project.settings.email
        return f"through {email.host}:{email.port}, which said: {receipt.response}"
    return f"({receipt.response})"
