"""Which checkpoint suits some data: scores of frozen embeddings."""
