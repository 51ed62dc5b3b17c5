DELETE FROM set_aside WHERE customer = :customer
