"""A whole Kubernetes cluster on one Linux machine, without Docker: real kubelets, containerd and containers.

Each node is a set of namespaces (network, mount, process ids, host name) with a kubelet and a containerd in
it; one more network namespace is the control plane's, and the switch between them. Nothing is changed
outside of these namespaces but control groups, and nothing is left when the owner ends.
"""
