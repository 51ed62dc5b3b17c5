SELECT kind, key, customer, reason FROM set_aside ORDER BY kind, key
