SELECT test, variant FROM winners ORDER BY number DESC LIMIT :limit
