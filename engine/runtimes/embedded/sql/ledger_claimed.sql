SELECT message, customer, body FROM ledger INDEXED BY ledger_claimed WHERE status = 'claimed' ORDER BY number
