"""Which inputs are numbers of categories, which made-up rows must not exceed."""

from __future__ import annotations

from fastprop.compiled.model import CompiledModel
from fastprop.graph.attributes import read_integer
from fastprop.graph.network import Network
from fastprop.graph.operators import canonical_name
from fastprop.model import Model
from fastprop.native.plan import Operand, Plan
from fastprop.verify.plan_oracle import Tensors

__all__ = ["category_limit"]


def category_limit(model: Model, name: str) -> int | None:
    """How many categories an input may name; None where nothing looks it up."""
    if isinstance(model, CompiledModel):
        number = [spec.name for spec in model.inputs].index(name)
        return limit_in_plan(model.document.plans["scores"], model.file.tensors, number)
    return limit_in_graph(model.network, name)


# What hands categories on as they are.
CARRIERS = {
    *("Cast", "Flatten", "Reshape", "SliceChannel", "SwapAxis", "_copy", "expand_dims"),
    *("slice", "slice_axis", "squeeze", "transpose"),
}


def limit_in_graph(network: Network, name: str) -> int | None:
    """By the graph: from the input through whatever hands it on to tables."""
    graph = network.graph
    limits: list[int] = []
    seen: set[int] = set()
    waiting = [graph.variable(name)]
    while waiting:
        at = waiting.pop()
        for consumer, position in graph.consumers(at):
            node = graph.nodes[consumer]
            op = canonical_name(node.op)
            if op in ("Embedding", "_contrib_SparseEmbedding") and position == 0:
                limits.append(read_integer(node.attributes, "input_dim"))
            elif op == "take" and position == 1:
                table = graph.nodes[node.inputs[0].node]
                if table.is_variable and network.has_value(table.name):
                    limits.append(int(network.value(table.name).shape[0]))
            elif op in CARRIERS and consumer not in seen:
                seen.add(consumer)
                waiting.append(consumer)
    return min(limits, default=None)


def limit_in_plan(plan: Plan, tensors: Tensors, number: int) -> int | None:
    """By the plan: from input `number` through steps that leave whole numbers as they are."""
    carried = [
        Operand("further", number - 1, 0, 0, plan.further[number - 1][1])
        if number
        else Operand("rows", 0, 0, 0, plan.n_columns)
    ]
    limits: list[int] = []
    for step in plan.steps:
        carries = any(meet(operand, known) for operand in step.inputs for known in carried)
        if step.op == "embedding" and carries:
            limits.append(len(tensors[step.tensors["table"]]))
        # A slot is written again and again: what it held is gone.
        carried = [known for known in carried if not meet(known, step.output)]
        if carries and (step.op in ("columns", "copy") or step.function == "trunc"):
            carried.append(step.output)
    return min(limits, default=None)


def meet(a: Operand, b: Operand) -> bool:
    """Whether two operands have columns in common."""
    if (a.place, a.number) != (b.place, b.number):
        return False
    return a.stride != b.stride or (a.first < b.first + b.width and b.first < a.first + a.width)
