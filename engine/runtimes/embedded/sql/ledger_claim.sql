UPDATE ledger SET status = 'claimed', attempts = attempts + 1, updated_ms = :now_ms,
    first_attempt_ms = CASE first_attempt_ms WHEN 0 THEN :now_ms ELSE first_attempt_ms END
WHERE message = :message AND status = 'pending'
