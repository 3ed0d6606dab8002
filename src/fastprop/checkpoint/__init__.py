"""MXNet checkpoints, read and written without MXNet."""
