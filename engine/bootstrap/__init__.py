"""The only place that builds things from settings: opens a project, runs it in one process, hands commands to it.

Invariant: everything is built here and handed down; no part below looks anything up by itself.
"""

from engine.bootstrap.acting import Operations
from engine.bootstrap.channels import channel_names, open_channels
from engine.bootstrap.commands import ask, carry_out, catalog_in_force, note, operations, running_url
from engine.bootstrap.parts import (
    dispatch_options,
    forget_in_mailbox,
    kept_in_mailbox,
    open_mailbox,
    open_runtime,
)
from engine.bootstrap.project import Project, Rehearsal, check, open_project, open_rehearsal
from engine.bootstrap.service import Service, run_forever

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
