UPDATE progress SET value = CASE name WHEN 'log' THEN :log ELSE :applied END WHERE name IN ('applied', 'log')
