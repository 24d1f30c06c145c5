"""How the page draws atoms."""

from dataclasses import dataclass
from functools import cache

from tlzoo.crystals import SYMBOLS


@dataclass(frozen=True)
class Look:
    """The colour of an element, as Jmol has it, and its covalent radius in Å."""

    colour: str
    radius: float


@cache
def looks() -> dict[str, Look]:
    """Return the look of each element, by its symbol."""
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    # ase has colours up to 109, all the same at the end
    last = len(jmol_colors) - 1
    return {
        symbol: Look(
            colour="#" + "".join(f"{round(255 * part):02x}" for part in jmol_colors[min(z, last)]),
            radius=float(covalent_radii[z]),
        )
        for z, symbol in enumerate(SYMBOLS)
        if z
    }
