"""What the HTTP API answers; FastAPI makes its OpenAPI description of it."""

from pydantic import BaseModel


class Target(BaseModel):
    """A property: its unit ("1" is none), what it is, by which theory, the mean error on the model's test."""

    name: str
    unit: str
    about: str
    theory: str
    mae: float | None


class Known(BaseModel):
    """A model that can be asked, and whether it is asked where none is named."""

    name: str
    about: str
    targets: list[Target]
    chosen: bool


class Neighbour(BaseModel):
    """A crystal that a model has learned from, its distance as the model sees it, and its labels."""

    id: str
    formula: str
    distance: float
    labels: dict[str, float]


class Prediction(BaseModel):
    """What a model says of a crystal, or the problem why it says nothing.

    Answers have the names that the columns of `tlzoo predict` have: that of the property itself, and with
    `_q5` and `_q95` those of the ends of a 90 % interval, where the model has one. Distances
    are in units of what is usual among the crystals that the model has learned from, 99 % of which are within
    `usual_distance` of the others; the nearest of them are told where they are at hand.
    """

    model: str
    answers: dict[str, float | str | None] = {}
    trust: str = ""
    unseen_elements: str = ""
    distance: float | None = None
    usual_distance: float | None = None
    nearest: list[Neighbour] = []
    problem: str = ""


class Crystal(BaseModel):
    """A crystal as it was read: rows of the lattice in Å, fractional coordinates."""

    id: str
    file: str
    formula: str
    lattice: list[list[float]]
    elements: list[str]
    frac_coords: list[list[float]]
    notes: list[str]
    predictions: list[Prediction]


class Problem(BaseModel):
    """Why a file, or a crystal in it, was left out."""

    file: str
    message: str


class Answer(BaseModel):
    """All crystals that could be read, and what could not."""

    crystals: list[Crystal]
    problems: list[Problem]


class Health(BaseModel):
    """That the server answers, how many requests it has not answered yet, and how large one may be."""

    version: str
    waiting: int
    most_bytes: int


class Fault(BaseModel):
    """What is wrong with a request."""

    error: str
