"""Gates: what to ask of Prometheus and what the answers mean. Pure: no I/O, no clock, no randomness."""
