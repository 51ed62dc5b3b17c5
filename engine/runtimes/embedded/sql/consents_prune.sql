DELETE FROM consents WHERE number IN (SELECT number FROM consents WHERE erased_ms > 0 AND erased_ms < :before_ms LIMIT :limit)
