"""Real models and real data: the file-type model in good and bad versions, and files whose type is known.

The traffic generator is in `edgelab.modelzoo.traffic`.
"""

from edgelab.modelzoo.field import Field, Sample, Share, collect
from edgelab.modelzoo.golden import bad_goldens
from edgelab.modelzoo.manifests import VariantOf, bucket_files, edge_model, edge_model_spec, model_io
from edgelab.modelzoo.measure import Measured, measure
from edgelab.modelzoo.store import BuiltFile, Zoo, ZooModel, open_zoo
from edgelab.modelzoo.tiny import hungry_model, looping_model, tiny_model

__all__ = [
    "BuiltFile",
    "Field",
    "Measured",
    "Sample",
    "Share",
    "VariantOf",
    "Zoo",
    "ZooModel",
    "bad_goldens",
    "bucket_files",
    "collect",
    "edge_model",
    "edge_model_spec",
    "hungry_model",
    "looping_model",
    "measure",
    "model_io",
    "open_zoo",
    "tiny_model",
]
