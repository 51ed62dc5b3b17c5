DELETE FROM ledger WHERE customer = :customer
