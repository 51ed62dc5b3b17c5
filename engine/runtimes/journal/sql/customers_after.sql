SELECT body FROM customers WHERE customer > :after ORDER BY customer LIMIT :limit
