"""What tests of an adapter or of a project import.

An adapter is asked by `Conformance`: subclass it, and say in `stage` how to build the adapter with a stand-in of its provider.
A project's workflows run in virtual time on `MemoryRuntime`, over the catalog that `load_project` or `load_files` makes of
their YAML; it decides what `anlass run` decides.

Invariant: nothing in here needs a network, a broker, a disk or a plug-in of pytest.
"""

from channels.conformance import Conformance, Fault, Received, Stage
from engine.clock import ManualClock
from engine.core.record import Event, Identify
from engine.definition.load import Loaded, load_files, load_project
from engine.runtimes.memory_ports import MemoryRuntime

__all__ = [
    "Conformance",
    "Event",
    "Fault",
    "Identify",
    "Loaded",
    "ManualClock",
    "MemoryRuntime",
    "Received",
    "Stage",
    "load_files",
    "load_project",
]
