"""The only place that builds things from settings: opens a project, runs it in one process, hands commands to it.

Invariant: everything is built here and handed down; no part below looks anything up by itself.
"""

from engine.bootstrap.service import Service, run_forever
from engine.operations.embedded import ask, carry_out, catalog_in_force, note, operations, running_url
from engine.operations.port import Operations
from engine.project.channels import channel_names, open_channels
from engine.project.opening import Project, Rehearsal, check, open_project, open_rehearsal
from engine.project.parts import (
    dispatch_options,
    forget_in_mailbox,
    kept_in_mailbox,
    local_mailbox,
    open_mailbox,
    open_runtime,
)

__all__ = [
    "Operations",
    "Project",
    "Rehearsal",
    "Service",
    "ask",
    "carry_out",
    "catalog_in_force",
    "channel_names",
    "check",
    "dispatch_options",
    "forget_in_mailbox",
    "kept_in_mailbox",
    "local_mailbox",
    "note",
    "open_channels",
    "open_mailbox",
    "open_project",
    "open_rehearsal",
    "open_runtime",
    "operations",
    "run_forever",
    "running_url",
]
