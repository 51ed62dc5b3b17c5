SELECT number, state FROM states WHERE number > :after ORDER BY number LIMIT :limit
