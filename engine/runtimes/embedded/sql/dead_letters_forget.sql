DELETE FROM dead_letters WHERE customer = :customer AND customer <> ''
