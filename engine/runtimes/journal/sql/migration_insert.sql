INSERT INTO schema_migrations (number, name, applied_ms) VALUES (:number, :name, :applied_ms)
