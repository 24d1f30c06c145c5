"""What is stored is data: weights as safetensors, everything else as JSON; nothing in a file is ever run.

A model is two files: ``<name>.safetensors`` holds the weights and, in its header, the specification (classes
and the arguments of their constructors) and what is predicted in which units; ``<name>.json`` is the card,
with the SHA-256 of the former. So a hash that is pinned covers all that a prediction depends on. The weights
may be a difference to those of another model (:mod:`tlzoo.model.difference`), which the header pins by hash.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tlzoo import plugins
from tlzoo.backbones.backbone import Backbone
from tlzoo.cards.beside import DOMAIN, ENDING, FIELDS, TAUGHT, TEACHER_ENDING, TEACHER_MAP, Beside
from tlzoo.cards.card import Base
from tlzoo.cards.library import locate, locate_base, refuse_pickles
from tlzoo.cards.schema import parse
from tlzoo.errors import UserError
from tlzoo.heads.head import Head
from tlzoo.machine.files import whole
from tlzoo.model.demand import ExcessError, bounded
from tlzoo.model.description import build, describe, plain
from tlzoo.model.difference import completed, reduced
from tlzoo.model.domain import Domain
from tlzoo.model.domain import read as read_domain
from tlzoo.model.teacher_map import TeacherMap
from tlzoo.model.teacher_map import read as read_map

__all__ = [
    "FORMAT",
    "Loaded",
    "build",
    "check_storable",
    "copy",
    "describe",
    "further",
    "load",
    "rounded",
    "save",
]

FORMAT = 1
# Names of the card that save() writes itself.
RESERVED = ("format", "sha256", "bytes", "spec", "base", *FIELDS)
# What the header says too, beside the specification.
PINNED = ("targets", "units")
# One key: the order of several would differ from file to file.
HEADER_KEY = "tlzoo"
RESTORE = "restore the card that came with the model"
# What a constructor can raise on arguments that it does not like.
UNBUILT = (TypeError, ValueError, LookupError, AttributeError, NameError, ArithmeticError, RuntimeError)


class _UnbuiltError(UserError):
    """A constructor failed."""


@dataclass(frozen=True)
class Loaded:
    """A stored model in eval mode; the card has all else: targets, units, metrics and more."""

    backbone: Backbone
    head: Head
    card: dict[str, Any]

    @property
    def network(self) -> dict[str, Any]:
        """The backbone as a part of a configuration: class path and arguments."""
        return {key: value for key, value in self.card["spec"]["backbone"].items() if key != "package"}


class Further(TypedDict):
    """What is known of a model beside its weights; arguments of :func:`save`."""

    domain: Domain | None
    teacher_map: TeacherMap | None


def further(weights: Path, card: Mapping[str, Any]) -> Further:
    """Return what the files beside the weights of a model say, to be stored beside others of it.

    Raises:
        UserError: A file is not the one that the card pins.
    """
    domain = read_domain(weights, card)
    return {"domain": domain if domain.measures else None, "teacher_map": read_map(weights, card)}


def save(
    path: str | Path,
    backbone: Backbone,
    head: Head,
    card: Mapping[str, Any],
    *,
    domain: Domain | None = None,
    teacher_map: TeacherMap | None = None,
    base: str = "",
    half: bool = False,
) -> None:
    """Write a model as ``<path>.safetensors`` and ``<path>.json``; each is complete or what it was before.

    The path has either suffix or none, the head is bound to the backbone. The card is anything JSON can
    hold; numbers that are not finite become null. What is known of the training crystals, ``domain``, and
    how the states become what the teacher says, ``teacher_map``, go into files beside them, which the card
    names. With the name of a model, ``base``, the weights are stored as their difference to it. With ``half``
    matrices are stored in 16 bits, as :func:`rounded` leaves them.

    Raises:
        UserError: The files cannot be written, for example because the disk is full; the classes are neither
            tlzoo's nor registered, so that nobody could load them; or the weights are none of a model.
    """
    weights, document = _files(Path(path))
    tensors = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    tensors |= {f"head.{name}": value for name, value in head.state_dict().items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    spec = {"backbone": _spec(backbone), "head": {**_spec(head), "in_dim": head.in_dim}}
    if wrong := _untrained(tensors):
        raise UserError(f"{wrong}, the training diverged: a model with it is not stored")
    facts = plain(card, "card")
    pinned = {name: facts[name] for name in PINNED if name in facts}
    if base:
        before, sha256 = _weights_of(locate(base))
        tensors, shared = reduced(tensors, before)
        pinned["base"] = {"name": base, "sha256": sha256, "tensors": shared}
    if half:
        tensors = {name: value.half() if _is_matrix(value) else value for name, value in tensors.items()}
    header = json.dumps({"format": FORMAT, "spec": spec, **pinned}, sort_keys=True)
    content = safetensors.torch.save(tensors, metadata={HEADER_KEY: header})
    sha256 = hashlib.sha256(content).hexdigest()
    ours = {"format": FORMAT, "sha256": sha256, "bytes": len(content), "spec": spec}
    ours |= {"base": pinned["base"]} if base else {}
    parts = {(DOMAIN, ENDING): domain, (TEACHER_MAP, TEACHER_ENDING): teacher_map}
    contents = {}
    for (field, ending), part in parts.items():
        if part is not None:
            beside = weights.with_name(weights.stem + ending)
            contents[beside] = part.content()
            ours[field] = Beside.describing(beside.name, contents[beside]).fields()
    facts = {name: value for name, value in facts.items() if name not in RESERVED}
    text = json.dumps({**facts, **ours}, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        weights.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        text = f"{weights.parent} cannot be made: {error.strerror}; choose another folder"
        raise UserError(text) from error
    # the large file first, so that a full disk leaves both as they were
    with whole(document) as new_card, whole(weights) as new_weights:
        new_weights.write_bytes(content)
        for beside, one in contents.items():
            with whole(beside) as new:
                new.write_bytes(one)
        new_card.write_text(text, encoding="utf-8")


def copy(weights: Path, to: Path) -> None:
    """Copy a model under another name, without suffix: weights, card, and what its layers need.

    Raises:
        UserError: A file cannot be read or written, or is not the one that the card pins.
    """
    contents = {to.with_name(f"{to.name}.safetensors"): _read(weights)}
    facts = json.loads(_read(weights.with_suffix(".json")))
    card = {name: value for name, value in facts.items() if name not in TAUGHT}
    if said := read_map(weights, facts):
        path = to.with_name(f"{to.name}{TEACHER_ENDING}")
        contents[path] = said.content()
        card[TEACHER_MAP] = Beside.describing(path.name, contents[path]).fields()
    text = json.dumps(card, indent=1, ensure_ascii=False) + "\n"
    contents[to.with_name(f"{to.name}.json")] = text.encode()
    for path, content in contents.items():
        with whole(path) as partial:
            partial.write_bytes(content)


def rounded(model: Loaded) -> Loaded:
    """Return a model whose matrices have 16 bits, in tensors of 32: half of a file, and errors of 5e-4.

    Raises:
        UserError: A number is too large for 16 bits.
    """
    for part in (model.backbone, model.head):
        for name, value in part.state_dict().items():
            if _is_matrix(value):
                value.copy_(value.half())
                if not value.isfinite().all():
                    raise UserError(f"{name} has numbers that are too large for 16 bits: keep all 32")
    return model


def _is_matrix(value: Tensor) -> bool:
    return value.ndim > 1 and value.dtype == torch.float32


def check_storable(backbone: Backbone, head: Head, *, export: bool = True) -> None:
    """Refuse, before it is trained, a model that :func:`save` would refuse or :func:`load` could not build.

    If it is not to be stored (``export``), only a resume file must describe it.

    Raises:
        UserError: A class is neither tlzoo's nor registered, or cannot be built again from its attributes.
    """
    for module in (backbone, head):
        if not export:
            _described(module)
        elif not plugins.is_own(type(module)):
            _check_rebuilt(module, _spec(module))
        else:
            _spec(module)


def _spec(module: nn.Module) -> dict[str, Any]:
    """Return what a file says of a module: its description, and its package if that is another one."""
    part = _described(module)
    if plugins.is_own(type(module)):
        return part
    plugin = plugins.owner(type(module))
    if plugin is None:
        raise UserError(
            f"{part['class_path']} cannot be stored: only classes of tlzoo and of registered packages are "
            f"ever built from a file. Give it a package with {plugins.HOW}; or train without a model file: "
            "--model.export false leaves metrics, predictions and resume files"
        )
    return {**part, "package": {"name": plugin.package, "version": plugin.version}}


def _described(module: nn.Module) -> dict[str, Any]:
    try:
        return describe(module)
    except TypeError as error:
        raise UserError(
            f"{error}; a model is stored as its class and arguments, each kept as the attribute of its name: "
            "numbers, text, lists and dataclasses of them"
        ) from error


def _check_rebuilt(module: nn.Module, spec: Mapping[str, Any]) -> None:
    """Refuse a module whose attributes are not the arguments that it was built from."""
    name = spec["class_path"]
    with torch.random.fork_rng(devices=[]):  # what is trained stays what its seed makes of it
        try:
            again = build(spec)
            if isinstance(module, Head) and isinstance(again, Head) and module.in_dim is not None:
                again.bind(module.in_dim)
        except UNBUILT as error:
            raise UserError(f"{name} cannot be built again from {spec['init_args']}: {error}") from error
    here, there = ({k: _kind(v) for k, v in m.state_dict().items()} for m in (module, again))
    if wrong := [key for key in here.keys() | there.keys() if here.get(key) != there.get(key)]:
        key = min(wrong)
        raise UserError(
            f"{name} built again from {spec['init_args']} has other weights: {key} is {there.get(key)}, not "
            f"{here.get(key)}; keep each argument as it came"
        )


def load(path: str | Path) -> Loaded:
    """Read a model; its hash is always verified.

    Args:
        path: Without suffix, or either of the two files.

    Raises:
        UserError: A file is missing, damaged, changed, of another kind or of a newer format, or its weights
            do not fit its specification.
    """
    weights, document = _files(Path(path))
    card = _read_card(weights, document)
    content = _read(weights)
    _verify(weights, content, card)
    note, tensors = _parse(weights, content)
    if any(note.get(name) != card.get(name) for name in ("spec", *PINNED, "base")):
        raise UserError(f"{document} describes another model than {weights}; {RESTORE}")
    _check_names(document, card)
    if "base" in note:
        tensors = _completed(weights, tensors, note["base"])
    spec = note["spec"]
    try:
        # first without memory: only what fits the file is built
        with bounded(tensors), suppress(_UnbuiltError), torch.device("meta"):
            _check_fit(weights, _modules(weights, spec), tensors)
        with bounded(tensors):
            modules = _modules(weights, spec)
    except ExcessError as error:
        raise UserError(f"{weights} cannot be built: {error}") from error
    _fill(weights, modules, tensors)
    if wrong := _untrained(tensors):
        raise UserError(f"{weights} is no trained model: {wrong}")
    return Loaded(modules["backbone"].eval(), modules["head"].eval(), card)


def _completed(weights: Path, stored: Mapping[str, Tensor], base: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Return the tensors of a network that is stored as its difference to another one.

    Raises:
        UserError: The other one is not there, or is another one.
    """
    try:
        about = parse(Base, base)
    except UserError as error:
        raise UserError(f"the header of {weights} names no base: {error}") from error
    path = locate_base(weights, about.name)
    before, found = _weights_of(path)
    if found != about.sha256:
        raise UserError(
            f"{weights} is a difference to {about.name} with the SHA-256 {about.sha256[:12]}…, and {path} "
            f"has {found[:12]}…: the two do not belong together; fetch the {about.name} that it was made from"
        )
    return completed(stored, before, about)


def _weights_of(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a model, and the SHA-256 of their file."""
    weights, document = _files(path)
    content = _read(weights)
    _verify(weights, content, _read_card(weights, document))
    note, tensors = _parse(weights, content)
    if "base" in note:
        # hashes within hashes: no file can be a difference to itself
        tensors = _completed(weights, tensors, note["base"])
    return tensors, hashlib.sha256(content).hexdigest()


def _modules(weights: Path, spec: Any) -> dict[str, Any]:  # noqa: ANN401 (what the file says)
    """Build both parts of the model that a header describes."""
    backbone, head = _module(weights, spec, "backbone"), _module(weights, spec, "head")
    if not isinstance(backbone, Backbone) or not isinstance(head, Head):
        raise UserError(f"{weights} does not hold a backbone and a head, in this order")
    in_dim = spec["head"].get("in_dim")
    if in_dim != backbone.out_dim:
        raise UserError(
            f"{weights}: the head reads embeddings of length {in_dim}, the backbone gives {backbone.out_dim}"
        )
    head.bind(in_dim)
    return {"backbone": backbone, "head": head}


def _check_names(document: Path, card: Mapping[str, Any]) -> None:
    """Refuse a card whose lists of names are none."""
    for name in (*PINNED, "elements"):
        value = card.get(name, [])
        if name == "elements" and value is None:
            continue  # nobody can tell
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise UserError(f"{document} is no card: {name} is {str(value)[:60]}, wanted names; {RESTORE}")
    if {"targets", "units"} <= card.keys() and len(card["targets"]) != len(card["units"]):
        raise UserError(f"{document} is no card: it has not as many units as targets; {RESTORE}")


def _files(path: Path) -> tuple[Path, Path]:
    refuse_pickles(path)
    name = path.name.removesuffix(".safetensors").removesuffix(".json")
    return path.with_name(f"{name}.safetensors"), path.with_name(f"{name}.json")


def _read_card(weights: Path, document: Path) -> dict[str, Any]:
    if not weights.is_file():
        raise UserError(f"there is no file {weights}")
    if not document.is_file():
        raise UserError(
            f"{weights} has no card: {document} is missing; a model is both files, keep them together"
        )
    try:
        card = json.loads(_read(document))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{document} is no JSON ({error}); {RESTORE}") from error
    if not isinstance(card, dict) or "format" not in card:
        raise UserError(f"{document} is no card of tlzoo")
    _check_format(document, card["format"])
    kinds = {"sha256": str, "bytes": int, "spec": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(card.get(name), kind)]:
        raise UserError(f"{document} lacks {', '.join(wrong)}; {RESTORE}")
    return card


def _check_format(file: Path, version: object) -> None:
    if version != FORMAT:
        reads = f"this tlzoo reads format {FORMAT}"
        raise UserError(f"{file} has format {version}, {reads}; update tlzoo to read it")


def _verify(weights: Path, content: bytes, card: Mapping[str, Any]) -> None:
    if len(content) < card["bytes"]:
        raise UserError(
            f"{weights} is truncated: {len(content):,} of {card['bytes']:,} bytes; fetch or copy it again"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != card["sha256"]:
        raise UserError(
            f"{weights} is not the file its card describes: SHA-256 {found[:12]}…, "
            f"wanted {card['sha256'][:12]}…; it is damaged or was changed: fetch it again"
        )


def _parse(weights: Path, content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors of a safetensors file."""
    try:
        stored = safetensors.torch.load(content)
        # the file starts with the length of its JSON header, which load() has just checked
        (length,) = struct.unpack("<Q", content[:8])
        note = json.loads(json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(HEADER_KEY, "{}"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise UserError(f"{weights} is no safetensors file: {error}") from error
    if not isinstance(note, dict) or "format" not in note:
        raise UserError(
            f"{weights} holds tensors, but was not written by tlzoo: its header has no specification"
        )
    _check_format(weights, note["format"])
    halves = torch.float16
    return note, {name: one.float() if one.dtype == halves else one for name, one in stored.items()}


def _untrained(tensors: Mapping[str, Tensor]) -> str | None:
    """Say what cannot be in a model: a number that is not finite, or a spread that is none.

    A scaler that has not been fitted is marked by NaN everywhere.
    """
    scaler = {name: value for name, value in tensors.items() if name.startswith("head.scaler.")}
    unfitted = all(bool(value.isnan().all()) for value in scaler.values())
    for name, value in tensors.items():
        if unfitted and name in scaler:
            continue
        if not bool(value.isfinite().all()):
            return f"{name} is not finite"
        part, _, last = name.rpartition(".")
        if last in {"running_var", "num_batches_tracked"} and bool((value < 0).any()):
            return f"{name} is negative"
        if part == "head.scaler" and last == "std" and bool((value <= 0).any()):
            return f"{name} is {value.min():g}, wanted a positive standard deviation"
    return None


def _module(weights: Path, spec: Any, part: str) -> nn.Module:  # noqa: ANN401 (what the file says)
    """Build a part of the model that a header describes; nothing it may say ends in a traceback."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get(part), Mapping):
        raise UserError(f"the header of {weights} describes no {part}")
    try:
        return build(spec[part])
    except ExcessError:
        raise
    except UserError as error:
        text = f"the header of {weights} describes a {part} that cannot be built: {error}"
        raise UserError(text) from error
    except UNBUILT as error:
        text = f"the header of {weights} describes a {part} that cannot be built: {error}"
        raise _UnbuiltError(text) from error


def _fill(weights: Path, modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Copy the weights of a file into modules that they must fit exactly."""
    _check_fit(weights, modules, tensors)
    for part, module in modules.items():
        module.load_state_dict({name: tensors[f"{part}.{name}"] for name in module.state_dict()})


def _check_fit(weights: Path, modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights that are not those of the modules, by name, type and shape."""
    parts = modules.items()
    wanted = {f"{part}.{name}": value for part, m in parts for name, value in m.state_dict().items()}
    problems = [f"{name} is missing" for name in wanted if name not in tensors]
    problems += [f"{name} is not expected" for name in tensors if name not in wanted]
    problems += [
        f"{name} is {_kind(tensors[name])}, wanted {_kind(value)}"
        for name, value in wanted.items()
        if name in tensors and _kind(tensors[name]) != _kind(value)
    ]
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise UserError(f"{weights}: weights do not fit the specification: {'; '.join(problems[:8])}{more}")


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
