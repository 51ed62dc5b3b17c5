"""What goes to a telephone: texts, WhatsApp, calls, and what people answer. Invariant: as of `channels`."""
