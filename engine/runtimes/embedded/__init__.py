"""The default runtime: one process, one SQLite file. Invariant: what a batch changes is one transaction."""

from engine.runtimes.embedded.runtime import EmbeddedRuntime
from engine.runtimes.embedded.store import EmbeddedOptions

__all__ = ["EmbeddedOptions", "EmbeddedRuntime"]
