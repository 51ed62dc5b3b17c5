DELETE FROM states WHERE customer = :customer
