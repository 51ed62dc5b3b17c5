INSERT INTO definitions (catalog, deployed_ms, files) VALUES (:catalog, :deployed_ms, :files) ON CONFLICT (catalog) DO UPDATE SET deployed_ms = excluded.deployed_ms, files = excluded.files
