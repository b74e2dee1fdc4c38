"""A node's data directory with models in it, as an agent that was there before would have left it."""

import hashlib

from edgecanary.agent.ports import ModelKey
from edgecanary.agent.record import new_record
from edgecanary.agent.store import Store
from edgecanary.api.artifacts import Format, ModelIO
from edgecanary.api.modelrelease import ReleasedFile, ReleasedVariant, RevisionStatement

_FILE = "model.onnx"


def install_active(store: Store, key: ModelKey, content: bytes, io: ModelIO, version: str = "1") -> str:
    """Puts an ONNX model into the directory as the active revision; its digest.

    An agent that starts with this directory serves the model, with or without a network.
    """
    digest = hashlib.sha256(content).hexdigest()
    file = ReleasedFile(
        path=_FILE, uri=f"https://models.example.com/{_FILE}", sha256=digest, size_bytes=len(content)
    )
    statement = RevisionStatement(
        revision=hashlib.sha256(f"{key} {version} {digest}".encode()).hexdigest(),
        version=version,
        variants=(ReleasedVariant(name="cpu", format=Format.ONNX, entrypoint=_FILE, files=(file,)),),
        io=io,
    )
    files = store.files_of(key)
    (store.root / "models").mkdir(parents=True, exist_ok=True)
    files.create()
    files.arrived(digest).write_bytes(content)
    files.stage(statement)
    files.point_active(statement.revision)
    store.save(new_record(key).model_copy(update={"active": statement.revision}))
    return statement.revision
