"""Writes what is derived: the CustomResourceDefinitions, the reference and the table of rollout situations.

`edgelab.generate.structural` turns a pydantic model into a structural schema, `edgelab.generate.crd`
wraps it into a CustomResourceDefinition, `edgelab.generate.reference` describes it in Markdown.
`edgelab.generate.semantics` reads the specifications of rollout situations.
"""

from edgelab.generate.files import generated_files, main

__all__ = ["generated_files", "main"]
