"""Which parts of Anlass need packages that a bare installation leaves out, and the sentence for whoever needs them.

Invariant: `EXTRAS` names the top-level modules of each extra in pyproject.toml that the code imports; a test compares them.
"""

from __future__ import annotations

from engine.errors import SettingsError

EXTRAS = {
    "kafka": ("Running on Kafka", frozenset({"aiokafka", "faust", "kafka", "mode", "rocksdict"})),
    "letters": ("Writing a PDF", frozenset({"fpdf"})),
    "otel": ("Tracing with OpenTelemetry", frozenset({"opentelemetry"})),
    "postgres": ("PostgreSQL", frozenset({"psycopg"})),
    "sms": ("Twilio (texts, WhatsApp, calls)", frozenset({"twilio"})),
}
"""Extra → what it is for, and its modules."""


def not_installed(error: ImportError) -> SettingsError | None:
    """What to tell whoever met this error; None when it is about a module of no extra, and so a mistake of ours."""
    module = (error.name or "").partition(".")[0]
    for extra, (what, modules) in EXTRAS.items():
        if module in modules:
            return SettingsError(
                f"{what} needs a package that is not installed ({module}).",
                mend=f"Install it with: pip install 'anlass[{extra}]'",
            )
    return None
