"""The whole story on real parts: `python -m edgelab.demo`."""
