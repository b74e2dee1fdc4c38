"""The image of the process that holds a pod's namespaces: one static program, put into an archive by hand."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from edgelab import tools
from edgelab.cluster.runtime import PAUSE_IMAGE
from edgelab.tools.download import architecture


def write_pause_image(archive: Path) -> Path:
    """Write the image as an archive of Docker's layout; its path.

    Raises:
        MissingToolError: the program cannot be built.
    """
    layer = _tar({"pause": tools.pause().read_bytes()})
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {"manifest.json": _json(manifest), "config.json": _json(config), "layer.tar": layer}
    archive.write_bytes(_tar(files))
    return archive


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
