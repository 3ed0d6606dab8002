"""Where a plan's buffers lie: side by side where they are joined, in slots that they share."""

from __future__ import annotations

from collections.abc import Sequence

from fastprop.native.draft import FURTHER, MADE, ROWS, SCORES, Buffer, Draft, View
from fastprop.native.plan import Operand, Plan, Step
from fastprop.native.tensors import Recipe

__all__ = ["lay_out"]


def lay_out(
    drafts: Sequence[Draft],
    scores: Buffer,
    *,
    sparse: bool,
    n_columns: int,
    further: Sequence[tuple[str, int]],
) -> tuple[Plan, dict[str, Recipe]]:
    """Give every buffer a place.

    Parameters
    ----------
    drafts : sequence of Draft
        In an order in which they can run.
    scores : Buffer
        The result.
    sparse, n_columns, further
        The inputs, see `Plan`.

    Returns
    -------
    Plan, dict of str to Recipe
        The plan and how its tensors are made, by name.

    Notes
    -----
    A buffer that is joined with others is written right where they are joined, the scores' parts
    in the caller's array. A step that works element by element writes over what it reads where
    nothing reads that later. Other buffers share slots where their lives do not overlap.
    """
    steps = join(needed(drafts, scores))
    write_in_place(steps)
    slots, numbers = assign_slots(steps)
    tensors: dict[str, Recipe] = {}
    names: dict[Recipe, str] = {}
    finished = [finish(step, numbers, tensors, names) for step in steps]
    plan = Plan(
        sparse=sparse,
        n_columns=n_columns,
        further=tuple(further),
        slots=tuple(slots),
        steps=tuple(finished),
        n_scores=scores.width,
    )
    return plan, tensors


def needed(drafts: Sequence[Draft], scores: Buffer) -> list[Draft]:
    """The steps that the scores depend on."""
    wanted = {scores}
    kept = []
    for draft in reversed(drafts):
        if draft.output in wanted:
            wanted.update(view.buffer for view in draft.inputs)
            kept.append(draft)
    return kept[::-1]


def join(drafts: Sequence[Draft]) -> list[Draft]:
    """Give what is joined a home there, or copy what cannot have one."""
    steps: list[Draft] = []
    for draft in drafts:
        if draft.op != "concat":
            steps.append(draft)
            continue
        first = 0
        for view in draft.inputs:
            buffer = view.buffer
            may_move = buffer.place == MADE and buffer.home is None and not buffer.compact
            if may_move and view.is_whole and buffer.resolve()[0] is not draft.output:
                buffer.home = (draft.output, first)
            else:
                part = Buffer(view.width, home=(draft.output, first))
                steps.append(Draft(f"{draft.name} part", "copy", "", [view], part))
            first += view.width
    return steps


def write_in_place(steps: Sequence[Draft]) -> None:
    """Have steps write over what is read for the last time."""
    last_use: dict[Buffer, int] = {}
    for i, step in enumerate(steps):
        for view in step.inputs:
            last_use[view.buffer.resolve()[0]] = i
    for i in range(len(steps) - 1, -1, -1):
        step = steps[i]
        if not step.in_place:
            continue
        home, _ = step.output.resolve()
        for view in step.inputs:
            buffer = view.buffer
            others = [
                other
                for other in step.inputs
                if other is not view and other.buffer.resolve()[0] is buffer
            ]
            if (
                buffer.place == MADE
                and buffer.home is None
                and view.is_whole
                and view.width == step.output.width
                and last_use[buffer] == i
                and all(other.buffer is buffer and other.is_whole for other in others)
                and (not buffer.compact or (home.place == MADE and home.width == buffer.width))
                and home is not buffer
            ):
                buffer.home = (step.output, 0)
                home.compact = home.compact or buffer.compact
                break


def assign_slots(steps: Sequence[Draft]) -> tuple[list[int], dict[Buffer, int]]:
    """Widths of the slots, and the slot of each buffer that has no home."""
    begins: dict[Buffer, int] = {}
    ends: dict[Buffer, int] = {}
    for i, step in enumerate(steps):
        for buffer in (step.output, *(view.buffer for view in step.inputs)):
            final = buffer.resolve()[0]
            if final.place == MADE:
                begins.setdefault(final, i)
                ends[final] = i
    slots: list[int] = []
    occupied: list[Buffer] = []
    numbers: dict[Buffer, int] = {}
    for buffer, begin in begins.items():
        free = [slot for slot, holder in enumerate(occupied) if ends[holder] < begin]
        fitting = [slot for slot in free if slots[slot] >= buffer.width]
        if fitting:
            slot = min(fitting, key=lambda slot: slots[slot])
        elif free:
            slot = max(free, key=lambda slot: slots[slot])
        else:
            slot = len(slots)
            slots.append(0)
            occupied.append(buffer)
        slots[slot] = max(slots[slot], buffer.width)
        occupied[slot] = buffer
        numbers[buffer] = slot
    return slots, numbers


def finish(
    draft: Draft,
    slots: dict[Buffer, int],
    tensors: dict[str, Recipe],
    names: dict[Recipe, str],
) -> Step:
    """The step, its buffers replaced by places and its tensors by names."""
    used = {}
    for role, recipe in draft.tensors.items():
        if recipe not in names:
            name = f"{draft.name}.{role}"
            number = 1
            while name in tensors:
                number += 1
                name = f"{draft.name}.{role}.{number}"
            names[recipe] = name
            tensors[name] = recipe
        used[role] = names[recipe]
    return Step(
        name=draft.name,
        op=draft.op,
        function=draft.function,
        inputs=tuple(operand(view, slots) for view in draft.inputs),
        output=operand(View(draft.output, 0, draft.output.width), slots),
        tensors=used,
        numbers=draft.numbers,
    )


def operand(view: View, slots: dict[Buffer, int]) -> Operand:
    buffer, offset = view.buffer.resolve()
    first = offset + view.first
    if buffer.place == MADE:
        return Operand("slot", slots[buffer], buffer.width, first, view.width)
    number = buffer.number if buffer.place == FURTHER else 0
    assert buffer.place in (ROWS, FURTHER, SCORES)
    return Operand(buffer.place, number, 0, first, view.width)
