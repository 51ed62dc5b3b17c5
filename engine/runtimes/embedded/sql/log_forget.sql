DELETE FROM log WHERE seq > :after AND seq <= :until AND customer = :customer
