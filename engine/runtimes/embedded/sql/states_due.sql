SELECT due_ms FROM states WHERE customer = :customer
