"""What `fastprop demo` does, as plain functions: a made-up shop, the whole chain, its tables."""
