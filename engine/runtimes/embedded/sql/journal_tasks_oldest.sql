SELECT seq, decision FROM journal
-- Of one kind, by the index `journal_tasks`.
WHERE kind = json_extract(:kinds, '$[0]') AND kind IN ('task', 'task_assigned', 'task_done') AND seq > :after_seq
    AND (:customer = '' OR customer = :customer)
    AND (:workflow = '' OR workflow = :workflow)
    AND (:enrollment = '' OR enrollment = :enrollment)
    AND (:message = '' OR message = :message)
ORDER BY seq ASC LIMIT :limit
