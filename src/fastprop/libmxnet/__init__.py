"""The MXNet engine: a graph run by libmxnet, whole or behind our own sparse layer."""
