SELECT seq, customer, decision FROM journal ORDER BY seq
