SELECT number, customer, proof FROM consents ORDER BY number
