SELECT seq, customer, record FROM log WHERE seq > :seq ORDER BY seq LIMIT :limit
