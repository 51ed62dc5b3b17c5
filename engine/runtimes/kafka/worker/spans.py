"""The spans of a worker's batch: what it read and which messages that led to (ADR 0010).

Invariant: called after the batch took effect; it changes nothing.
"""

from __future__ import annotations

from engine.core.record import Event, Identify
from engine.dispatch.sending.cause import cause_of
from engine.runtimes.kafka.topics import is_ours
from engine.runtimes.kafka.worker.plan import CommitPlan
from engine.tracing import Tracing


def trace_batch(tracing: Tracing, plan: CommitPlan, partition: int, *, ended_ms: int, seconds: float) -> None:
    """`seconds`: how long the batch took, until `ended_ms`."""
    events: list[str] = []
    for arrival in plan.arrivals:
        ids = [record.id for record in arrival.inputs if isinstance(record, (Event, Identify))]
        events += ids
        incoming = arrival.incoming
        if ids and not is_ours(incoming.value or b""):
            # Nobody of us took it in: what came over Kafka itself waited there until this batch began.
            began_ms = ended_ms - seconds * 1_000
            waited = max(0.0, began_ms - incoming.at_ms) / 1_000
            tracing.took_in(ids, by="kafka", ended_ms=began_ms, seconds=waited)
    batch = {"partition": partition, "offset": plan.checkpoint.applied, "records": len(plan.arrivals)}
    causes = [cause_of(message) for message in plan.messages]
    tracing.evaluated(events, causes, ended_ms=ended_ms, seconds=seconds, batch=batch)
