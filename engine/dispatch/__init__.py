"""Effects become messages: templates are loaded, checked and rendered here, and the outbox is emptied through channels.

Invariant: nothing in this package decides *whether* somebody is written to; it only carries out what the core decided.
"""
