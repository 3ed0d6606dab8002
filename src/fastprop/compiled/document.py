"""What a compiled model says of itself, as JSON: written here and read back with every check."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Callable

from fastprop.errors import ModelFormatError
from fastprop.graph.network import InputSpec
from fastprop.native.plan import Operand, Plan, Step

__all__ = ["VERSION", "Document", "read_document", "write_document"]

FORMAT = "fastprop-compiled"
VERSION = 1
PLANS = ("scores", "heads")
MAX_NUMBER = (1 << 48) - 1


@dataclass(frozen=True)
class Document:
    """What is known of a compiled model beside its tensors.

    Parameters
    ----------
    name, epoch
        Those of the checkpoint.
    made_by : str
        Version of fastprop that compiled it.
    weights : {"float32", "bfloat16", "int8"}
        How weights are held.
    positive_index : int or None
        Which class of a softmax over two is the score.
    inputs : tuple of InputSpec
        The rows first; shapes are complete.
    head_shapes : tuple of tuple of int
        Shape of a row of each head of the checkpoint.
    plans : mapping of str to Plan
        "scores" and "heads".
    """

    name: str
    epoch: int | None
    made_by: str
    weights: str
    positive_index: int | None
    inputs: tuple[InputSpec, ...]
    head_shapes: tuple[tuple[int, ...], ...]
    plans: Mapping[str, Plan]


def write_document(document: Document) -> dict[str, str]:
    """The metadata of a compiled model's file."""
    facts = asdict(document)
    facts["plans"] = {name: plan_facts(plan) for name, plan in document.plans.items()}
    text = json.dumps(facts, separators=(",", ":"))
    return {"format": FORMAT, "version": str(VERSION), "model": text}


def plan_facts(plan: Plan) -> dict[str, Any]:
    facts = asdict(plan)
    facts["steps"] = [
        {
            **asdict(step),
            "inputs": [operand.arguments for operand in step.inputs],
            "output": step.output.arguments,
        }
        for step in plan.steps
    ]
    return facts


def read_document(metadata: Mapping[str, str], source: str) -> Document:
    """Read the metadata of a compiled model's file.

    Parameters
    ----------
    metadata : mapping of str to str
        As the file has it.
    source : str
        What messages call the file.

    Raises
    ------
    ModelFormatError
        It is no compiled model, one of another version, or contradicts itself; says where.
    """
    if metadata.get("format") != FORMAT:
        raise ModelFormatError(f"{source}: a safetensors file, but no compiled model of fastprop")
    if metadata.get("version") != str(VERSION):
        raise ModelFormatError(
            f"{source}: a compiled model of version {metadata.get('version')}, and this fastprop "
            f"reads version {VERSION}: compile the checkpoint again"
        )
    try:
        facts = json.loads(metadata.get("model", ""))
    except (RecursionError, ValueError) as error:
        raise ModelFormatError(f"{source}: the model's description is not JSON: {error}") from None
    return Reading(source).document(facts)


class Reading:
    """Takes a description apart; each method names the place of what it refuses."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, place: str, what: str) -> ModelFormatError:
        return ModelFormatError(f"{self.source}: {place} is not {what}")

    def document(self, facts: Any) -> Document:
        facts = self.object("the description", facts)
        inputs = self.items("inputs", facts, self.input)
        if not inputs:
            raise self.fail("inputs", "a list of at least one")
        epoch, index = facts.get("epoch"), facts.get("positive_index")
        plans = self.object("plans", facts.get("plans"))
        if sorted(plans) != sorted(PLANS):
            raise self.fail("plans", " and ".join(PLANS))
        weights = self.text("weights", facts.get("weights"))
        if weights not in ("float32", "bfloat16", "int8"):
            raise self.fail("weights", "float32, bfloat16 or int8")
        document = Document(
            name=self.text("name", facts.get("name")),
            epoch=None if epoch is None else self.number("epoch", epoch),
            made_by=self.text("made_by", facts.get("made_by")),
            weights=weights,
            positive_index=None if index is None else self.number("positive_index", index),
            inputs=tuple(inputs),
            head_shapes=tuple(self.items("head_shapes", facts, self.shape)),
            plans={name: self.plan(f"plan {name}", plans[name]) for name in PLANS},
        )
        self.check(document)
        return document

    def check(self, document: Document) -> None:
        """Inputs, heads and plans say the same of widths."""
        widths = [size(spec.shape or ()) for spec in document.inputs]
        for name, plan in document.plans.items():
            given = [plan.n_columns, *(width for _, width in plan.further)]
            names = [name for name, _ in plan.further]
            if given != widths or names != [spec.name for spec in document.inputs[1:]]:
                raise self.fail(f"plan {name}", "one for these inputs")
            if plan.sparse != (document.inputs[0].storage == "csr"):
                raise self.fail(f"plan {name}", "one for rows of this storage")
        heads = sum(size(shape) for shape in document.head_shapes)
        if document.plans["heads"].n_scores != heads:
            raise self.fail("plan heads", "one for these heads")

    def input(self, place: str, facts: Any) -> InputSpec:
        facts = self.object(place, facts)
        storage = self.text(f"{place}.storage", facts.get("storage"))
        if storage not in ("csr", "default"):
            raise self.fail(f"{place}.storage", "csr or default")
        return InputSpec(
            name=self.text(f"{place}.name", facts.get("name")),
            storage=storage,
            shape=self.shape(f"{place}.shape", facts.get("shape")),
            dtype=self.text(f"{place}.dtype", facts.get("dtype")),
        )

    def plan(self, place: str, facts: Any) -> Plan:
        facts = self.object(place, facts)
        sparse = facts.get("sparse")
        if not isinstance(sparse, bool):
            raise self.fail(f"{place}.sparse", "true or false")
        return Plan(
            sparse=sparse,
            n_columns=self.number(f"{place}.n_columns", facts.get("n_columns")),
            further=tuple(self.items(f"{place}.further", facts, self.further)),
            slots=tuple(self.items(f"{place}.slots", facts, self.number)),
            steps=tuple(self.items(f"{place}.steps", facts, self.step)),
            n_scores=self.number(f"{place}.n_scores", facts.get("n_scores")),
        )

    def further(self, place: str, facts: Any) -> tuple[str, int]:
        if not isinstance(facts, list) or len(facts) != 2:
            raise self.fail(place, "a name and a width")
        return self.text(place, facts[0]), self.number(place, facts[1])

    def step(self, place: str, facts: Any) -> Step:
        facts = self.object(place, facts)
        tensors = self.object(f"{place}.tensors", facts.get("tensors"))
        numbers = self.object(f"{place}.numbers", facts.get("numbers"))
        return Step(
            name=self.text(f"{place}.name", facts.get("name")),
            op=self.text(f"{place}.op", facts.get("op")),
            function=self.text(f"{place}.function", facts.get("function")),
            inputs=tuple(self.items(f"{place}.inputs", facts, self.operand)),
            output=self.operand(f"{place}.output", facts.get("output")),
            tensors={
                role: self.text(f"{place}.tensors.{role}", name) for role, name in tensors.items()
            },
            numbers={
                name: self.real(f"{place}.numbers.{name}", value) for name, value in numbers.items()
            },
        )

    def operand(self, place: str, facts: Any) -> Operand:
        if not isinstance(facts, list) or len(facts) != 5:
            raise self.fail(place, "a place and four numbers")
        number, stride, first, width = (self.number(place, item) for item in facts[1:])
        return Operand(self.text(place, facts[0]), number, stride, first, width)

    def shape(self, place: str, facts: Any) -> tuple[int, ...]:
        if not isinstance(facts, list):
            raise self.fail(place, "a list of extents")
        shape = tuple(self.number(place, item) for item in facts)
        if size(shape) > MAX_NUMBER:
            raise self.fail(place, "a shape that memory could hold")
        return shape

    def items(self, place: str, facts: Mapping[str, Any], read: Callable[[str, Any], Any]) -> Any:
        """A list, each item read; the last part of `place` is its key."""
        found = facts.get(place.rpartition(".")[2])
        if not isinstance(found, list):
            raise self.fail(place, "a list")
        return [read(f"{place}[{i}]", item) for i, item in enumerate(found)]

    def object(self, place: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(place, "an object")
        return value

    def text(self, place: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self.fail(place, "a text")
        return value

    def number(self, place: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
            raise self.fail(place, f"a whole number from 0 to {MAX_NUMBER}")
        return value

    def real(self, place: str, value: Any) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.fail(place, "a number")
        try:
            return float(value)
        except OverflowError:
            raise self.fail(place, "a number that a float can hold") from None


def size(shape: Sequence[int | None]) -> int:
    """Elements of a shape."""
    product = 1
    for extent in shape:
        product *= extent or 0
    return product
