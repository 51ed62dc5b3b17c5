UPDATE ledger SET body = :body, scheduled = 0, not_before_ms = 0, reason = CASE reason WHEN 'unreadable' THEN '' ELSE reason END WHERE message = :message
