DELETE FROM dead_letters WHERE number IN @numbers(numbers) RETURNING number
