"""The container images, built with what the machine has: Docker, else buildah on a base of Debian packages."""

from edgelab.images.build import AGENT, OPERATOR, Built, build

__all__ = ["AGENT", "OPERATOR", "Built", "build"]
