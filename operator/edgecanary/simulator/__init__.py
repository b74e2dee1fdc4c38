"""A rollout on a fleet that is not there: the real planner, gates and agent decisions on simulated time."""
