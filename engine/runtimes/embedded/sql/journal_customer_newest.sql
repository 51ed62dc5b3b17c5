SELECT seq, decision FROM journal
WHERE customer = :customer AND seq > :after_seq
    AND (:customer = '' OR customer = :customer)
    AND (:workflow = '' OR workflow = :workflow)
    AND (:enrollment = '' OR enrollment = :enrollment)
    AND (:message = '' OR message = :message)
    AND (:kinds = '[]' OR kind IN (SELECT value FROM json_each(:kinds)))
ORDER BY seq DESC LIMIT :limit
