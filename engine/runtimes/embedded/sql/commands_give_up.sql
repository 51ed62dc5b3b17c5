DELETE FROM commands WHERE number = :key
