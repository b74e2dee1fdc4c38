"""Metrics by remote write, for nodes that nothing can reach: kept on disk until Prometheus has them."""
