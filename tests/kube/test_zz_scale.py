import time, tracemalloc, resource
import numpy as np
from tests.kube.backfill import push, Line
from tests.kube.gate_lab import *
import tests.kube.gate_lab as gl
def test_scale(prometheus):
    gl.SCRAPE = 60
    start = float(int(time.time())) - 1800
    names = [f"edge-{n:05}" for n in range(10000)]
    t0=time.time()
    traffic = Traffic(start, requests=60)
    for i, n in enumerate(names):
        switch = 60.0 + i % 50 if i < 500 else 1800.0
        traffic.serve(n, STABLE, -7200, switch)
        if i < 500: traffic.serve(n, CANARY, switch, 1800, rate=0.03)
    print("make", time.time()-t0, len(traffic.lines))
    t0=time.time(); push(prometheus.remote_write_url, traffic.lines); print("push", time.time()-t0)
    gate = Gate(prometheus, {"preset":"ErrorRate","comparison":{}}, start, 7200, timeout_seconds=10)
    m0=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for k in range(5):
        t0=time.time(); gate.outcomes.clear(); s = gate.look(); print("look", round(time.time()-t0,2), len(gate.outcomes), s.reason, s.message[:200], gate.counts.size/2**20)
        time.sleep(1.2)
    c=gate.read()
    t0=time.time(); from edgecanary.analysis.compared import compare
    from edgecanary.analysis.presets import build_query
    q=gate.analysis.metrics[0]
    from edgecanary.analysis.baseline import learn
    from edgecanary.analysis.negative_binomial import weigh
    t0=time.time(); b=learn(c.history); t1=time.time(); weigh(b,c.since); print("learn", t1-t0, "weigh", time.time()-t1, c.history.ticks_total.shape, c.since.total.shape)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-m0)/1024)
    assert 0
