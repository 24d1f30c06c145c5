"""A trained model: what it answers, what its layers say, and the files that hold it."""

from tlzoo.model.trained import Model, embed, load

__all__ = ["Model", "embed", "load"]
