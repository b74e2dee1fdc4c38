"""The lab: the real parts that tests, the demo and the benchmarks run against.

Development only; nothing of this is in the product. It finds or makes the programs
(`edgelab.tools`), runs them so that none is left behind (`edgelab.processes`), and wraps each:
`edgelab.controlplane`, `edgelab.prometheus`, `edgelab.s3`.
"""
