DELETE FROM journal WHERE customer = :customer AND log_seq < :log_seq
