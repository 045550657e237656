"""Where things are kept: SQL tables and queries, vectors, cache, objects, token stream."""
