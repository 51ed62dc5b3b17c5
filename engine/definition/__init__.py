"""YAML definitions to an `engine.core.catalog.Catalog`, with every mistake named at file, line and column."""
