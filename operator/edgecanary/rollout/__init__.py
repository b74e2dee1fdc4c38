"""Who gets which revision, and what a rollout does next. Pure: no I/O, no clock, no randomness."""
