SELECT message, customer, body, links FROM ledger ORDER BY number
