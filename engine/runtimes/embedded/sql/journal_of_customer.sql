SELECT decision FROM journal WHERE customer = :customer AND log_seq < :until ORDER BY seq
