-- Newest first. Looks at the newest rows only: the log has no index by customer, and most questions are about lately.
SELECT at_ms, record FROM (SELECT seq, at_ms, customer, record FROM log ORDER BY seq DESC LIMIT :looked)
WHERE customer = :customer
LIMIT :limit
