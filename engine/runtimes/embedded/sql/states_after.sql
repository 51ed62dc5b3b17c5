SELECT state FROM states WHERE customer > :after ORDER BY customer LIMIT :limit
