"""What a process runs that makes descriptors: ``python -m tlzoo.descriptors.descriptor_workers``."""

from tlzoo.descriptors.descriptor_chunk import DESCRIPTORS
from tlzoo.graphs.workers import serve

if __name__ == "__main__":
    serve(DESCRIPTORS)
