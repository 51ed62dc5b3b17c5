DELETE FROM dead_letters WHERE number IN (
    SELECT number FROM (SELECT number, at_ms FROM dead_letters ORDER BY number LIMIT :limit) WHERE at_ms < :before_ms
) AND customer NOT IN (SELECT customer FROM set_aside WHERE customer <> ''
)
