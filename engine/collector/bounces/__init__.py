"""Mails that come back, by a listener or out of a mailbox.

Invariant: a mail leaves the mailbox only once it was taken in.
"""
