"""Inference over HTTP: the Open Inference Protocol v2 with feedback, and the metrics endpoint."""
