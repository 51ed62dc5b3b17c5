"""`anlass demo`: a simulated shop, in compressed time, on the real engine. Invariant: nothing in production imports this."""

from engine.demo.perform import run

__all__ = ["run"]
