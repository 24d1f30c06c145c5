"""`tlzoo embed MODEL INPUT… --layer NAME -o FILE`: compute features of crystals with a layer of a model.

With ``--atoms`` features of every atom, written into a folder.
"""

from collections.abc import Sequence

from tlzoo.commands import arguments, say
from tlzoo.commands.answer_requests import Embedded, Inputs, Written
from tlzoo.machine.plural import counted

EXAMPLE = "tlzoo embed momentnet-u crystals/ --layer states -o features.parquet"


def main(args: Sequence[str]) -> int:
    """Compute, and write a row per crystal: its id, then the numbers."""
    asked, given, written = arguments.parse(
        args, Embedded, Inputs, Written, prog="tlzoo embed", about=__doc__, example=EXAMPLE
    )
    if asked.atoms:
        written.check_folder()
        from tlzoo.screen import atom_embedding

        about = {name: getattr(asked, name) for name in ("layer", "whiten", "jobs")}
        say(
            atom_embedding.embed(
                asked.model,
                given.inputs,
                written.output,
                skip_bad=given.skip_bad,
                reading=given.reading,
                **about,
            )
        )
        return 0
    written.check_file()
    from tlzoo.crystals import Crystals
    from tlzoo.machine.files import write_columns
    from tlzoo.model.activations import EMBEDDING
    from tlzoo.model.answering import Columns, Stores, answer_inputs
    from tlzoo.transfer.features.layers import source

    features = source(asked.model)
    layer = asked.layer or (EMBEDDING if EMBEDDING in features.layers else features.default)
    features.check(layer)

    def answer(_: Crystals, stores: Stores) -> Columns:
        return dict(zip(features.columns(layer), features.read(stores, [layer])[layer].T, strict=True))

    table = answer_inputs(
        given.inputs,
        features.needs([layer]),
        answer,
        skip_bad=given.skip_bad,
        reading=given.reading,
        prepare=features.prepare,
    )
    write_columns(table, written.output, units=features.units(layer))
    say(f"{counted(len(table['id']), 'crystal')}, {len(table) - 1} numbers each → {written.output}")
    return 0
