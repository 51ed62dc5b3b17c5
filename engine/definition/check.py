"""Checks across the documents of a project: whatever one names, another has to define.

Invariant: a project that passes has no dangling name: step ids, segments, workflows, purposes, templates and tests' subjects
all exist. Problems are about what was written, at the place where it was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Protocol

from engine.core import workflow as core
from engine.core.catalog import Segment
from engine.core.policy import Policy
from engine.definition.assemble import asked_segments, matches_of
from engine.definition.case import TestFile
from engine.definition.compile import Compiled
from engine.definition.problem import Problems, nearest
from engine.definition.site import Path, Site


class Templates(Protocol):
    """What is asked about templates."""

    def has(self, channel: str, name: str) -> bool:
        """Whether there is a template of that name for that channel."""


class Project:
    """What the files of a project say, while it is put together."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.workflows: dict[str, Compiled] = {}
        self.segment_names: set[str] = set()
        self.segments: dict[str, Segment] = {}
        self.segment_sites: dict[str, Site] = {}
        self.policy: Policy | None = None
        self.policy_site: Site | None = None
        self.tests: list[TestFile] = []
        self.test_sites: list[Site] = []


def check_project(project: Project, problems: Problems, *, templates: Templates | None = None) -> None:
    """Adds what is wrong to the problems."""
