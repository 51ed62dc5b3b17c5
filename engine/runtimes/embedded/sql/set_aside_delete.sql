DELETE FROM set_aside WHERE kind = :kind AND key = :key
