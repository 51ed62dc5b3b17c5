SELECT topic, partition, next_offset FROM progress ORDER BY topic, partition
