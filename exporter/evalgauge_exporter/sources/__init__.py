"""Sources: each module reads one format and produces events. No source imports a view."""
