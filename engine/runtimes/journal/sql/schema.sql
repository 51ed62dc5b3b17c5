-- Which migrations the database has seen.

-- name: migrations_create
CREATE TABLE IF NOT EXISTS schema_migrations (number BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_ms BIGINT NOT NULL)

-- name: migrations_applied
SELECT number FROM schema_migrations ORDER BY number

-- name: migration_insert
INSERT INTO schema_migrations (number, name, applied_ms) VALUES (:number, :name, :applied_ms)
