"""What a process runs that makes formulas: ``python -m tlzoo.graphs.formula_workers``."""

from tlzoo.graphs.formulas import FORMULAS
from tlzoo.graphs.workers import serve

if __name__ == "__main__":
    serve(FORMULAS)
