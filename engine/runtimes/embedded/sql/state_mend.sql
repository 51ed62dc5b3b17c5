UPDATE states SET due_ms = :due_ms, state = :state WHERE customer = :customer
