"""What a process runs that computes with a potential: ``python -m tlzoo.physics.physics_workers``."""

from tlzoo.graphs.workers import serve
from tlzoo.physics.physics_chunk import KINDS

if __name__ == "__main__":
    serve(KINDS["phonons"].product)  # the options say which
