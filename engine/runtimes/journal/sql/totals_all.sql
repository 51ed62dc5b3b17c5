SELECT name, part, CAST(sum(value) AS BIGINT) FROM totals GROUP BY name, part
