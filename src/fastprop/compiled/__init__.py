"""The compiled model file: a plan and its packed tensors in one file that is mapped, not read."""
