SELECT number, customer FROM states WHERE number > :after ORDER BY number LIMIT :limit
