DELETE FROM dead_letters WHERE origin = :origin AND customer = :customer
