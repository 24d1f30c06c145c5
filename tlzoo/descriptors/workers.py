"""What a process runs that makes descriptors: ``python -m tlzoo.descriptors.workers``."""

from tlzoo.descriptors.chunk import descriptors
from tlzoo.graphs.workers import serve

if __name__ == "__main__":
    serve(descriptors())
