SELECT catalog, deployed_ms, files FROM definitions ORDER BY deployed_ms DESC, number DESC LIMIT :limit
