"""The four kinds of `edgecanary.dev/v1alpha1` as pydantic models: the one source of the CRDs.

Each kind has its module, so that a node imports only the kinds that it handles.
"""

from typing import Final

GROUP: Final = "edgecanary.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = "edgecanary.dev/v1alpha1"
VERSION_ANNOTATION: Final = "edgecanary.dev/version"
"""On each CustomResourceDefinition: the version of edgecanary that it came with."""
