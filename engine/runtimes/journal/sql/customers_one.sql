SELECT body FROM customers WHERE customer = :customer
