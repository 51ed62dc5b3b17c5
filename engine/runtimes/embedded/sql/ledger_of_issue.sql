SELECT body, status FROM ledger WHERE address IN (SELECT value FROM json_each(:addresses)) AND workflow = :workflow
