-- Earlier ones that nobody took are answered with it: only the newest counts.
UPDATE handovers
SET answered_ms = :answered_ms,
    files = x'',
    catalog = CASE WHEN number = :number THEN :catalog ELSE '' END,
    problem = CASE WHEN number = :number THEN :problem ELSE 'a newer deploy came before it was taken' END
WHERE number <= :number AND answered_ms = 0
