"""The customer's page that every message links to, `/me/TOKEN`: what they receive, and the way to what is theirs.

Invariant: opening a page changes nothing, and shows nothing personal: who gets a forwarded mail can choose and unsubscribe, no
more. What is personal (`me_own`) opens by an access link, which is mailed to the address that is known and works once.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from engine.collector.pages.me_own import OwnPages
from engine.collector.pages.me_page import apart, event, locked, masked, me_page, told
from engine.collector.pages.texts import title, word
from engine.collector.pages.visit import Entrance, Visit
from engine.collector.pages.visitors import Visitors, ask, own_state
from engine.core.channel import ADDRESS_TRAITS
from engine.core.consent.may_send import address_of, normal_address, permission
from engine.core.customer import CustomerState
from engine.core.facts import moving
from engine.core.journey.workflow import Send
from engine.core.record import Record
from engine.runtimes.base import Front

CHOICES = {"tracking": "email", "profiling": "profile"}
"""Purposes that no message has and that are chosen all the same, when the policy knows them: purpose → channel."""
ASK_AGAIN_MS = 600_000
"""Who asks for a link twice within this time has asked once."""
Choices = dict[tuple[str, str], bool]


class MePages:
    """The handlers."""

    def __init__(self, runtime: Front, entrance: Entrance, visitors: Visitors) -> None:
        self._runtime = runtime
        self._entrance = entrance
        self._visitors = visitors

    def routes(self) -> list[web.RouteDef]:
        """All paths below `/me`."""
        seen, filled = self._entrance.visited, self._entrance.filled_in
        return [
            web.get("/me/access/{token}", seen("access", self.ask_access)),
            web.post("/me/access/{token}", filled("access", self.use_access)),
            web.get("/me/{token}", seen("preferences", self.overview)),
            web.post("/me/{token}", filled("preferences", self.save_preferences)),
            web.post("/me/{token}/link", filled("preferences", self.ask_link)),
            *OwnPages(self._runtime, self._entrance, self._visitors).routes(),
        ]

    # ------------------------------------------------------------------------------------------------ preferences

    async def overview(self, visit: Visit) -> web.StreamResponse:
        """Purposes and channels as checkboxes, and the way to everything else."""
        state = await own_state(self._runtime, visit.link)
        return await self._overview(visit, state, self._choices(state))

    async def save_preferences(self, visit: Visit) -> web.StreamResponse:
        """Records what was ticked and what no longer is.

        A tick counts at once on the address that the link came to; elsewhere the customer still has to confirm.
        """
        form = await visit.form()
        ticked = {(purpose, channel) for purpose, _, channel in (value.partition(":") for value in form.get("on", []))}
        state = await own_state(self._runtime, visit.link)
        choices = self._choices(state)
        proven = await self._proven_address(visit, state)
        changes: dict[str, dict[str, list[str]]] = {}
        chosen: Choices = {}
        for (purpose, channel), on in choices.items():
            wanted = chosen[(purpose, channel)] = (purpose, channel) in ticked
            if wanted and not on:
                action = "grant" if ADDRESS_TRAITS.get(channel, channel) == proven else "request"
                changes.setdefault(action, {}).setdefault(purpose, []).append(channel)
            elif not wanted:
                changes.setdefault("withdraw", {}).setdefault(purpose, []).append(channel)
        records: list[Record] = [
            visit.consent(action, {purpose: channels}, wording=_wording(visit, purpose, channels))
            for action, purposes in changes.items()
            for purpose, channels in purposes.items()
        ]
        if records:
            await self._runtime.append([apart(record, number) for number, record in enumerate(records)])
        return await self._overview(visit, state, chosen, saved=True, pending="request" in changes)

    def _choices(self, state: CustomerState) -> Choices:
        """(purpose, channel) → whether it is allowed now. Only what some workflow sends, or consent is known of."""
        catalog = self._runtime.catalog
        policy = catalog.policy
        offered: set[tuple[str, str]] = {
            (purpose, channel) for purpose, channels in state.consent.items() for channel in channels
        }
        for workflow in catalog.workflows.values():
            for operation in workflow.ops.values():
                if isinstance(operation, Send):
                    purpose = operation.purpose or workflow.purpose
                    offered |= {(purpose, name) for name in operation.channels if address_of(state, name)}
        offered |= {(purpose, channel) for purpose, channel in CHOICES.items() if purpose in policy.purposes}
        return {
            (purpose, channel): not permission(
                state,
                policy,
                purpose=purpose,
                channel=channel,
                address=address_of(state, channel) or "unknown@address.invalid",
            ).reason
            for purpose, channel in sorted(offered)
            if purpose in policy.purposes and policy.purposes[purpose].consent != "none"
        }

    async def _proven_address(self, visit: Visit, state: CustomerState) -> str:
        """The trait of the address that the message with this link went to; "" when that is not known, or not in use any more."""
        status = await self._runtime.message(visit.link.message)
        if status is None or status.message.customer != visit.link.customer:
            return ""
        message = status.message
        reached = normal_address(message.address, message.channel)
        if not reached or reached != normal_address(address_of(state, message.channel), message.channel):
            return ""
        return ADDRESS_TRAITS.get(message.channel, message.channel)

    async def _overview(
        self, visit: Visit, state: CustomerState, choices: Choices, *, saved: bool = False, pending: bool = False
    ) -> web.Response:
        return me_page(
            visit, "preferences", groups=_groups(visit, choices), saved=saved, pending=pending,
            masked=masked(address_of(state, "email")), is_open=await self._visitors.is_open(visit),
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------------ access

    async def ask_link(self, visit: Visit) -> web.StreamResponse:
        """A message with an access link, to the address that is known."""
        state = await own_state(self._runtime, visit.link)
        asked = event(visit, moving.LINK_ASKED, {}, key=f"link:{visit.now_ms // ASK_AGAIN_MS}")
        await self._runtime.append([asked])
        return told(visit, "linked", address=masked(address_of(state, "email")) or "•••")

    async def ask_access(self, visit: Visit) -> web.StreamResponse:
        """A button; opening the page uses nothing up, because mail scanners open every link."""
        state = await own_state(self._runtime, visit.link)
        if not await self._visitors.is_usable(visit):
            return locked(visit, state, root=self._visitors.page_of(visit.link))
        return ask(visit, "access")

    async def use_access(self, visit: Visit) -> web.StreamResponse:
        """Opens what is personal in this browser, if no other one was first."""
        state = await own_state(self._runtime, visit.link)
        answer = await self._visitors.use(visit) if await self._visitors.is_usable(visit) else None
        return answer or locked(visit, state, root=self._visitors.page_of(visit.link))


def _groups(visit: Visit, choices: Choices) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for (purpose, channel), on in choices.items():
        box = {"value": f"{purpose}:{channel}", "label": word(visit.lang, channel), "on": on}
        group = groups.setdefault(
            purpose,
            {"title": title(visit.lang, purpose), "about": visit.texts.get(f"about_{purpose}", ""), "boxes": []},
        )
        group["boxes"].append(box)
    return groups


def _wording(visit: Visit, purpose: str, channels: list[str]) -> str:
    """What stood beside the boxes."""
    boxes = ", ".join(word(visit.lang, channel) for channel in channels)
    about = visit.texts.get(f"about_{purpose}", "")
    return f"{visit.texts['preferences_ask']} {title(visit.lang, purpose)}: {boxes}. {about}".strip()
