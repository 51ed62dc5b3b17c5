-- The newest of each customer and channel.
SELECT body, status, attempts, reason, code, provider_id, updated_ms, links FROM messages
WHERE number IN (SELECT max(number) FROM messages WHERE address IN @texts(addresses) AND address <> '' GROUP BY customer, channel)
ORDER BY number DESC LIMIT :limit
