DELETE FROM definitions WHERE catalog = :key
