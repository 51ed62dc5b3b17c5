-- @by is one of the conditions that an index serves, @order is ASC or DESC: see `reading` in statements.py.
SELECT seq, at_ms, customer, kind, workflow, version, enrollment, step, detail, why FROM journal
WHERE @by seq > :after_seq
    AND (:customer = '' OR customer = :customer)
    AND (:workflow = '' OR workflow = :workflow)
    AND (:enrollment = '' OR enrollment = :enrollment)
    AND (:message = '' OR message = :message)
    AND (:all_kinds = 1 OR kind IN @texts(kinds))
ORDER BY seq @order LIMIT :limit
