SELECT number, '', record FROM commands ORDER BY number
