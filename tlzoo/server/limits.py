"""What a server takes at most, and why."""

from typing import Final

# Bytes of a request. A CIF of 500 atoms has 50 kB, one with its reflections 3 MB.
BODY: Final = 10 * 1024**2
# Files of a request, and crystals in them: 0.1 s of a CPU each with a large network. More are for
# `tlzoo predict`.
FILES: Final = 100
CRYSTALS: Final = 200
# Atoms of a cell. The largest that the checkpoints have learned from has 444.
ATOMS: Final = 500
# Seconds for the answer to a request, loading models included. What takes longer is stuck: a file that grows
# into millions of atoms.
SECONDS: Final = 60
# Bytes of memory for that. A large network takes 0.5 GB beside 1 GB of libraries; a CIF of 12 kB can grow
# into so many atoms that their distances take 33 GB.
MEMORY: Final = 4 * 1024**3
# Connections at a time; those that wait hold their files in memory.
CONNECTIONS: Final = 100
# Models in memory at a time: 20 MB each with what it knows of its training crystals, some potentials 200 MB.
MODELS: Final = 8
# Characters of the name of a file that are shown.
NAME: Final = 200
