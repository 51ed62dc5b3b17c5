UPDATE erasures SET finished_ms = :finished_ms, customer = '' WHERE number = :number
