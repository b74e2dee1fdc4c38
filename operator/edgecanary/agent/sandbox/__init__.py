"""What a probe's child process takes from itself before it touches a model. Standard library only."""
