SELECT seq, customer, record FROM log ORDER BY seq
