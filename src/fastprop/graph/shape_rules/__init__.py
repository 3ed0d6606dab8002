"""How each documented operator constrains the shapes of its inputs and outputs.

A rule reads what is known of a node's shapes and adds what follows from it, in both directions;
it never guesses. A shape is a tuple with None for an unknown extent, or None when even the number
of dimensions is unknown. The conditions are those of MXNet 1.9.1's `FInferShape` functions, and
stricter where MXNet itself does not look (Reshape's size, BatchNorm's channels).
"""
