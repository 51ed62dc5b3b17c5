SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM log
