"""A checkpoint as a repository of the Hugging Face Hub: weights, card, and a page with metadata."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from tlzoo.cards import Card, credentials, hub
from tlzoo.cards.beside import files
from tlzoo.errors import UserError
from tlzoo.zoo import model_card

# The Hub shows tensors and number of parameters of a file that is called so.
STEM: Final = "model"


def upload(weights: Path, repository: str, *, private: bool = False) -> str:
    """Upload a checkpoint in one commit, and return its name there, by commit and hash.

    The repository is made if it is not there. The token is that of `hf auth login`, or ``HF_TOKEN``.

    Args:
        weights: Its weights, with its card beside them.
        repository: ``user/model``.
        private: Make a new repository private.

    Raises:
        UserError: It is no name of a repository, that holds something else, the package is missing, or the
            Hub refuses.
    """
    asked = hub.Reference.parse(f"{hub.SCHEME}{repository}")
    if asked.revision or asked.sha256:
        raise UserError(
            f"{hub.SCHEME}{repository} names a revision; a new one is made: {hub.SCHEME}user/model"
        )
    card = Card.read(weights.with_suffix(".json"))
    if not credentials.token():
        raise UserError("the Hub takes nothing without a token: call `hf auth login`, or set HF_TOKEN")
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HTTPError
    except ImportError as error:
        raise UserError("publishing to the Hub needs its client: pip install 'tlzoo[hub]'") from error
    page = model_card.readme(card, f"{hub.SCHEME}{repository}@main", head=model_card.metadata(card).to_yaml())
    named = {weights: f"{STEM}{weights.suffix}", weights.with_suffix(".json"): f"{STEM}.json"}
    added = [CommitOperationAdd(named.get(file, file.name), str(file)) for file in files(weights)]
    added.append(CommitOperationAdd("README.md", page.encode()))
    api = HfApi(endpoint=credentials.hub(), token=credentials.token(), library_name="tlzoo")
    try:
        # an existing one stays as private as it is
        if api.repo_exists(repository):
            _refuse_others(repository, api.list_repo_files(repository))
        else:
            api.create_repo(repository, private=private)
        done = api.create_commit(repository, added, commit_message=f"{card.name}, {card.sha256[:12]}")
    except UserError:
        raise
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        said = " ".join(f"{error} {error.__cause__ or ''}".split())
        raise UserError(f"the Hub does not take {hub.SCHEME}{repository}: {said}") from error
    return asked._replace(revision=str(done.oid), sha256=card.sha256).text


def _refuse_others(repository: str, there: Collection[str]) -> None:
    """Refuse a repository with weights that are not ours to replace."""
    stems = {name.removesuffix(".safetensors") for name in there if name.endswith(".safetensors")}
    models = {stem for stem in stems if f"{stem}.json" in there} - {STEM}
    models |= {STEM} if STEM in stems and f"{STEM}.json" not in there else set()
    if models:
        raise UserError(
            f"{hub.SCHEME}{repository} holds {min(models)}.safetensors, which this command has not put "
            "there; name another repository"
        )
