SELECT customer FROM ledger WHERE message = :message
