SELECT count(*) FROM customers WHERE due_ms > 0 AND due_ms <= :now_ms
