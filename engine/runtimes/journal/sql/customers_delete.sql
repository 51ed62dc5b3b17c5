DELETE FROM customers WHERE customer IN @texts(customers)
