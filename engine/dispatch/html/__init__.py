"""The HTML of a mail: its style sheets, and its plain text. Invariant: done once per template, never per recipient."""
