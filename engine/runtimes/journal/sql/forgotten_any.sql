SELECT count(*) FROM (SELECT 1 FROM forgotten LIMIT 1) AS one
