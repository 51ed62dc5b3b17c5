UPDATE ledger SET scheduled = 0, not_before_ms = 0, reason = '' WHERE customer = :customer AND status = 'pending' AND reason = :reason
