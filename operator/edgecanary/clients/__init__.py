"""The adapters to the world outside: Kubernetes, Prometheus, object stores and file servers.

The only layer that opens connections. The operator uses `access`, `kube`, `prometheus` and `objectstore`;
the node agent uses `nodeaccess`, `nodehttp`, `nodeapi` and `download`, which need nothing but urllib3.
"""
