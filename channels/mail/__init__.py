"""Mail: the channel, its bytes, its connections, and what receivers find about the sender in DNS.

Invariant: as of `channels`.
"""
