UPDATE ledger SET status = 'failed', scheduled = 0, reason = 'unreadable', updated_ms = :at_ms WHERE message = :message AND status IN ('pending', 'claimed')
