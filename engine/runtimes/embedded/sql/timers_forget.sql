DELETE FROM timers WHERE customer = :customer
