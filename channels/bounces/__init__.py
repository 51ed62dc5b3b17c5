"""Mails that come back: what they say about a message of ours. `understand` is the door.

Invariant: nothing here raises for what a stranger sent, and nothing suppresses an address that the mail did not speak of plainly.
"""

from channels.bounces.reading import Kind, Understood, understand
from channels.mail.marks import Marks

__all__ = ["Kind", "Marks", "Understood", "understand"]
