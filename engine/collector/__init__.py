"""HTTP intake: Segment's API, CloudEvents, customers' links; and the operators' port beside it.

Invariant: a 200 is given only after the records are durable; whatever is refused is refused in JSON with `code` and
`message`, and never with a traceback.
"""

from engine.collector.app import CollectorNeeds, build_collector, operators_views
from engine.collector.intake.parse import parse_line
from engine.collector.operators import Views, build_operators

__all__ = ["CollectorNeeds", "Views", "build_collector", "build_operators", "operators_views", "parse_line"]
