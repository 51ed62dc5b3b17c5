SELECT note FROM progress WHERE name = 'hash_key'
