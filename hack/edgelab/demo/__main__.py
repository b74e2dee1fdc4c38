"""The demo: starts a fleet of real parts, plays six scenarios, checks each, sums up.

Exits with 0 when everything came out as it was to, with 1 and a list of differences when not.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from edgelab import tools
from edgelab.demo.checks import Checks, DifferenceError
from edgelab.demo.findings import check_traffic
from edgelab.demo.manifests import Renderer
from edgelab.demo.narrator import Narrator
from edgelab.demo.outages import corrupted_download, prometheus_outage
from edgelab.demo.report import Report, make_report
from edgelab.demo.scenarios import better_version, careless_version, first_release, node_returns
from edgelab.demo.stage import NAME, NAMESPACE, Stage
from edgelab.demo.summary import summary
from edgelab.errors import LabError
from edgelab.fleet import Fleet, FleetSettings, two_classes
from edgelab.modelzoo.traffic import TrafficGenerator, TrafficSettings
from edgelab.paths import ROOT
from edgelab.processes import Supervisor

VNNI_NODES, GENERIC_NODES = 8, 4
REQUESTS_PER_SECOND = 3.0
SCENARIOS = (
    first_release,
    better_version,
    careless_version,
    corrupted_download,
    node_returns,
    prometheus_outage,
)


def main() -> int:
    """Plays the demo; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgelab.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave all running at the end, until Ctrl-C")
    parser.add_argument("--report", type=Path, default=ROOT / "demo-report.json", help="where to write it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="edgecanary-demo-"))
    narrator = Narrator()
    passed = False
    try:
        passed = _run(folder, narrator, options.report, keep=options.keep)
    except KeyboardInterrupt:
        narrator.plain("\nstopped")
        return 130
    except LabError as error:
        narrator.plain(f"\nThe demo could not go on: {error}\nlogs: {folder / 'logs'}")
    finally:
        if passed:
            shutil.rmtree(folder, ignore_errors=True)
    return 0 if passed else 1


def _run(folder: Path, narrator: Narrator, report_path: Path, *, keep: bool) -> bool:
    """Start the fleet, play, sum up; whether everything came out as it was to."""
    settings = FleetSettings(nodes=two_classes(VNNI_NODES, GENERIC_NODES))
    narrator.plain(
        f"Starting a control plane, Prometheus, S3, the operator and {len(settings.nodes)} agents …"
    )
    with Supervisor(folder / "logs") as supervisor, Fleet(supervisor, folder, settings) as fleet:
        traffic_settings = TrafficSettings(model=NAME, requests_per_second=REQUESTS_PER_SECOND)
        with TrafficGenerator(fleet.field, traffic_settings) as traffic:
            narrator.plain(f"Set up in {time.time() - narrator.started:.0f} s; logs in {supervisor.log_dir}")
            narrator.started = time.time()
            stage = _stage(folder, fleet, traffic, narrator)
            report = _play(stage)
            report.write(report_path)
            narrator.plain()
            narrator.render(summary(report))
            _conclude(narrator, report, report_path, logs=supervisor.log_dir)
            if keep:
                _keep(narrator, fleet)
    return report.passed


def _stage(folder: Path, fleet: Fleet, traffic: TrafficGenerator, narrator: Narrator) -> Stage:
    renderer = Renderer(
        folder / "manifests",
        fleet.zoo,
        prometheus_url=fleet.prometheus.url,
        bucket_keys=fleet.s3.environment,
    )
    return Stage(fleet, traffic, renderer, narrator, Checks(narrator))


def _play(stage: Stage) -> Report:
    """Play the scenarios until one differs."""
    stage.narrator.show(stage.board())
    passed = True
    with stage.narrator:
        try:
            for scenario in SCENARIOS:
                scenario(stage)
                stage.checks.end()
            check_traffic(stage)
            stage.checks.end()
        except DifferenceError as error:
            passed = False
            stage.narrator.say(str(error))
        except LabError as error:
            passed = False
            stage.checks.broke_off(error)
    return make_report(stage, ended=time.time(), passed=passed)


def _conclude(narrator: Narrator, report: Report, path: Path, *, logs: Path) -> None:
    narrator.plain()
    different = [check for check in report.checks if not check.passed]
    for check in different:
        narrator.plain(f"NO  ({check.scenario}) {check.what}: expected {check.expected}; got {check.got}")
    verdict = "Everything came out as it was to" if report.passed else "Not everything came out as it was to"
    narrator.plain(
        f"{verdict}: {len(report.checks) - len(different)} of {len(report.checks)} checks passed "
        f"in {report.seconds:.0f} s. The report: {path}"
    )
    if not report.passed:
        narrator.plain(f"Logs: {logs}")


def _keep(narrator: Narrator, fleet: Fleet) -> None:
    """Leave everything running until Ctrl-C."""
    agent = next(iter(fleet.agents.values()))
    path = "" if shutil.which("kubectl") else f"  export PATH={tools.kubectl().parent}:$PATH\n"
    narrator.plain(f"""
Everything is still running. In another terminal:

{path}  export KUBECONFIG={fleet.control_plane.kubeconfig()}
  kubectl get mro,em -n {NAMESPACE}
  kubectl get en -A
  kubectl describe mro {NAME} -n {NAMESPACE}
  kubectl explain rollout.spec.strategy.steps
  curl {agent.url}/v2/models/{NAME}
  curl http://{agent.metrics_address}/metrics

Prometheus: {fleet.prometheus.url}
Ctrl-C ends it all.""")
    try:
        signal.pause()
    except KeyboardInterrupt:
        narrator.plain("\nstopping …")


if __name__ == "__main__":
    sys.exit(main())
