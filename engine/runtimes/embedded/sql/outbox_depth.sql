SELECT coalesce(sum(value), 0) FROM counters WHERE name = 'message' AND (part LIKE '%:pending' OR part LIKE '%:claimed')
