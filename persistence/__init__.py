"""PostgreSQL: the server, the schema, the journal and the queries. SQL is written here and nowhere else."""
