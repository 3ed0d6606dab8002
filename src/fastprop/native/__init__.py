"""The native engine: a graph compiled to a list of steps that the core runs without MXNet."""
