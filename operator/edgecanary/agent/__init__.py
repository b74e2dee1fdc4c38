"""The node agent: takes revisions to this node, probes, serves and counts them, and goes back by itself."""
