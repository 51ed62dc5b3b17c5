DELETE FROM pace WHERE bucket_ms < :before_ms
