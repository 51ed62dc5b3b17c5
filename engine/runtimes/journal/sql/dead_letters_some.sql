SELECT number, at_ms, origin, reason, customer, body FROM dead_letters WHERE number IN @numbers(numbers) ORDER BY number
