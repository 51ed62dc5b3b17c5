SELECT not_before_ms FROM ledger INDEXED BY ledger_scheduled WHERE status = 'pending' AND scheduled = 1 ORDER BY not_before_ms LIMIT 1
