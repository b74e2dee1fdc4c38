"""A whole fleet of real parts: control plane, Prometheus, S3, operator, agents and traffic."""

from edgelab.fleet.fleet import Fleet, FleetSettings
from edgelab.fleet.layout import NodePlan, two_classes
from edgelab.fleet.mirror import Mirror
from edgelab.fleet.programs import Agent, Program
from edgelab.fleet.subject import Subject
from edgelab.fleet.waiting import NotReachedError, wait_for

__all__ = [
    "Agent",
    "Fleet",
    "FleetSettings",
    "Mirror",
    "NodePlan",
    "NotReachedError",
    "Program",
    "Subject",
    "two_classes",
    "wait_for",
]
