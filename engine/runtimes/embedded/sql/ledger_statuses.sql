SELECT message, status, updated_ms FROM ledger WHERE message IN (SELECT value FROM json_each(?))
