UPDATE ledger SET status = 'sent', scheduled = 0, updated_ms = :at_ms, reason = :reason, code = ''
WHERE (message = :message OR (provider_id <> '' AND provider_id = :message)) AND status IN ('pending', 'unknown')
