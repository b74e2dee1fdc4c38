"""Writes what is derived from the API types: the CustomResourceDefinitions and the reference.

`edgelab.generate.structural` turns a pydantic model into a structural schema, `edgelab.generate.crd`
wraps it into a CustomResourceDefinition, `edgelab.generate.reference` describes it in Markdown.
"""

from edgelab.generate.files import generated_files, main

__all__ = ["generated_files", "main"]
