-- It cannot be read. One that was under way may have left: nobody can say.
UPDATE ledger SET status = CASE status WHEN 'claimed' THEN 'unknown' ELSE status END, scheduled = 1,
    not_before_ms = :until_ms, reason = :reason
WHERE message = :message AND status IN ('pending', 'claimed')
