SELECT customer, partition, position, body FROM customers WHERE customer > :after ORDER BY customer LIMIT :limit
