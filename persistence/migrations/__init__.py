"""The schema, step by step: Alembic runs the modules in `versions/` in order. See `persistence/migrate.py`."""
