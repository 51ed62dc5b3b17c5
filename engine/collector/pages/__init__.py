"""What customers reach from their messages: links, their own page, the archive.

Invariant: no page needs a script or loads anything from elsewhere.
"""
