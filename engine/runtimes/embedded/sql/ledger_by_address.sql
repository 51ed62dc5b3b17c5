-- The newest of each customer and channel.
SELECT body, status, attempts, reason, code, provider_id, updated_ms, links FROM ledger
WHERE number IN (SELECT max(number) FROM ledger WHERE address IN (SELECT value FROM json_each(:addresses)) AND address <> '' GROUP BY customer, channel)
ORDER BY number DESC LIMIT :limit
