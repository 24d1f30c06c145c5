"""Licences as the Hugging Face Hub and Zenodo call them, found in what a card says of them."""

import re
from typing import Final

# Those for data and for weights that both know, in the spelling of SPDX in small letters.
KNOWN: Final = (
    *("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "mit", "odc-by", "odbl", "pddl"),
    *(f"cc-by{more}-{number}" for more in ("", "-sa", "-nc", "-nc-sa") for number in ("3.0", "4.0")),
    *("cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
)
# Zenodo has version numbers where the Hub has families.
ZENODO: Final = {"odc-by": "odc-by-1.0", "odbl": "odbl-1.0", "pddl": "pddl-1.0"}


def identifier(text: str) -> str:
    """Return the licence that a text names; empty if it names none, or several.

    >>> identifier("Materials Project, CC-BY-4.0"), identifier("CC BY 4.0"), identifier("CC0")
    ('cc-by-4.0', 'cc-by-4.0', 'cc0-1.0')
    >>> identifier("MIT (the package), data: CC-BY-4.0"), identifier("ask me"), identifier("permitted")
    ('', '', '')
    """
    spelled = re.sub(r"(?<=[a-z0])[ ](?=[a-z]{2}\b|\d)", "-", text.lower())  # CC BY 4.0
    spelled = re.sub(r"cc0(?!-1)", "cc0-1.0", spelled)
    found = {one for one in KNOWN if re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w-]|\.\d)", spelled)}
    return found.pop() if len(found) == 1 else ""
