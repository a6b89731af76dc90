"""The live page: static files that the exporter serves as they are."""
