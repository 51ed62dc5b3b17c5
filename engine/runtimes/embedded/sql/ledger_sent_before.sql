INSERT OR IGNORE INTO ledger (message, customer, channel, lane, priority, status, scheduled, not_before_ms, updated_ms, reason, body)
VALUES (:message, '', '', '', 0, 'sent', 0, 0, :at_ms, :reason, :body)
