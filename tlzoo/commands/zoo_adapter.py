"""`tlzoo zoo adapter`: a fine-tuned model as its difference to the one that it started from."""

from pathlib import Path

from tlzoo.commands import say


def adapter(model: str, path: Path, *, base: str = "") -> int:
    """Store a fine-tuned model as a small file: its difference to the model that it started from.

    Args:
        model: The fine-tuned model: a run directory or any other model.
        path: The new file, NAME.safetensors; its card is put beside it.
        base: The model that the difference is taken to; by default the one that MODEL started from.
    """
    from tlzoo.model.checkpoint import load
    from tlzoo.zoo.adapter import store

    made = store(model, path, base=base)
    about = load(made).card["base"]
    with_ = f"{about['name']} (SHA-256 {about['sha256'][:12]}…)"
    say(f"{made}: {made.stat().st_size / 1e3:.0f} kB, to be used with {with_}")
    return 0
