-- Waits with its customer, who is set aside.
UPDATE ledger SET scheduled = 1, not_before_ms = :until_ms, reason = :reason WHERE customer = :customer AND status = 'pending' 
