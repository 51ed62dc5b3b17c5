SELECT catalog, '', files FROM definitions ORDER BY number
