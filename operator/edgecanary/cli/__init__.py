"""The program `edgecanary`: one module for each subcommand."""
