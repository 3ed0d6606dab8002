"""Passes over networks, one a file: each returns a network that computes the same."""
