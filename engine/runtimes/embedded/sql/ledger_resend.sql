UPDATE ledger SET status = 'pending', scheduled = 0, resends = resends + 1, updated_ms = :at_ms, reason = :reason WHERE message = :message AND status = 'claimed'
