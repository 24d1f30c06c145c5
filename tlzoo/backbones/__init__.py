"""Graph networks that turn crystals into embeddings."""
