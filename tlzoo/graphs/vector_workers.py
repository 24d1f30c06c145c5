"""What a process runs that makes bond vectors: ``python -m tlzoo.graphs.vector_workers``."""

from tlzoo.graphs.vectors import VECTORS
from tlzoo.graphs.workers import serve

if __name__ == "__main__":
    serve(VECTORS)
