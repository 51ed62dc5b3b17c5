"""What a refusal says about an address, by code and words. Invariant: one judge for SMTP, mails and webhooks."""
