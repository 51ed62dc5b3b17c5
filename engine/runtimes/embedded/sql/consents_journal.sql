SELECT seq, log_seq, decision FROM journal WHERE kind = 'consent' AND seq > :after ORDER BY seq LIMIT :limit
