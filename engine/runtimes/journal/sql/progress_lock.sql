-- All topics of a partition number at once, in one order: whoever writes about a customer holds this.
SELECT topic, partition, next_offset FROM progress WHERE partition IN @numbers(partitions) ORDER BY partition, topic @for_update
