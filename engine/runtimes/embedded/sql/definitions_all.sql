SELECT catalog, files FROM definitions ORDER BY deployed_ms DESC, number DESC
