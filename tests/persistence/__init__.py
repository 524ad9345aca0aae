"""The journal and its database: one contract for both journals, then what only PostgreSQL can get wrong."""
