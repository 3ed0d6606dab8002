"""The checkpoint's graph: parsing, shapes, admission, and the passes that rewrite it."""
