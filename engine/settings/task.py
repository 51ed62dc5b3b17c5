"""The section `[task]`: what follow-ups get that name no queue and no date.

Invariant: it needs no setting; tasks are kept by Anlass itself and nothing leaves this machine.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from engine.settings.section import ChannelSection


class TaskSection(ChannelSection):
    """Of messages sent by the channel `task`; the step `task` says these things itself."""

    SERVES: ClassVar[tuple[str, ...]] = ("task",)

    queue: Annotated[str, Field(max_length=100)] = ""
    due_hours: Annotated[float, Field(ge=0, le=24 * 366, allow_inf_nan=False)] = 24.0

    @property
    def configured(self) -> bool:
        """Always: it has nothing to reach."""
        return True
