UPDATE progress SET value = coalesce((SELECT min(seq) FROM log) - 1, :applied) WHERE name = 'pruned'
