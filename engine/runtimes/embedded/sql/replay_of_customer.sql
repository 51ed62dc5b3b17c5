SELECT seq, record FROM log WHERE customer IN (:customer, '') AND seq < :until ORDER BY seq
