DELETE FROM log WHERE seq = :key
