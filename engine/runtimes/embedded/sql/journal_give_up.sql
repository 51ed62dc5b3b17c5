DELETE FROM journal WHERE seq = :key
