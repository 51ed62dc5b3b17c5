UPDATE erasures SET scanned_seq = :scanned_seq, rows_removed = rows_removed + :rows_removed WHERE number = :number
