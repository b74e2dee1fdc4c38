"""The bill of materials of an image, in CycloneDX's JSON."""

import uuid
from datetime import UTC, datetime

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from edgecanary import __version__
from edgelab.errors import LabError
from edgelab.images.content import Content, Package

_SPACE = uuid.UUID("6f0c1c60-5d2c-4f5b-9a52-3c0a4a1b9a11")
"""Of the serial numbers: the same image has the same one each time."""


def bill_of_materials(content: Content, name: str, image_id: str, epoch: int) -> str:
    """The bill of an image: each package of Debian and of Python in it. The same image gives the same text.

    Raises:
        LabError: the text does not keep to CycloneDX's schema.
    """
    distribution = _distribution(content)
    bom = Bom(
        serial_number=uuid.uuid5(_SPACE, image_id),
        components=[_component(package, distribution) for package in content.packages()],
    )
    bom.metadata.timestamp = datetime.fromtimestamp(epoch, UTC)
    repository = name.rpartition(":")[0]
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER, name=repository, version=__version__, bom_ref=f"sha256:{image_id}"
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise LabError(f"the bill of materials of {name}: {problem}")
    return text


def _component(package: Package, distribution: str) -> Component:
    qualifiers = {"arch": package.architecture, "distro": distribution} if package.kind == "deb" else None
    namespace = distribution.partition("-")[0] if package.kind == "deb" else None
    url = PackageURL(package.kind, namespace, package.name, package.version, qualifiers)
    licences = []
    if package.licence:
        is_expression = package.kind == "pypi" and " " not in package.licence
        licences.append(
            LicenseExpression(package.licence) if is_expression else DisjunctiveLicense(name=package.licence)
        )
    return Component(
        name=package.name, version=package.version, purl=url, bom_ref=url.to_string(), licenses=licences
    )


def _distribution(content: Content) -> str:
    """Such as `debian-12`."""
    for text in content.read("etc/os-release", "usr/lib/os-release").values():
        fields = dict(line.split("=", 1) for line in text.decode().splitlines() if "=" in line)
        return f"{fields.get('ID', 'linux')}-{fields.get('VERSION_ID', '')}".replace('"', "").rstrip("-")
    return "linux"
