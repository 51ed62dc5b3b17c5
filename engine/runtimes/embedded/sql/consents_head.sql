SELECT number, hash FROM consent_head
