"""Which kinds the API server says it serves: what a watch that begins goes by."""

from collections.abc import Iterable, Iterator

from edgecanary.base.errors import NotFound
from edgecanary.clients.kube import KubeClient
from edgecanary.clients.resources import Resource


class Discovery:
    """Asks for the kinds that an operator needs. A kind can be listed a moment before it is told of here."""

    def __init__(self, kube: KubeClient, resources: Iterable[Resource]) -> None:
        self._kube = kube
        self._groups: dict[str, list[Resource]] = {}
        for resource in resources:
            path = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
            self._groups.setdefault(path, []).append(resource)

    def missing(self) -> tuple[Resource, ...]:
        """The kinds that the API server does not tell of. Raises the API server's errors."""
        return tuple(kind for path in self._groups for kind in self._missing_of(path))

    def _missing_of(self, path: str) -> Iterator[Resource]:
        kinds = self._groups[path]
        try:
            answer = self._kube.ask(path, kinds[0])
        except NotFound:
            yield from kinds
            return
        told = answer.get("resources")
        names = (
            {item.get("name") for item in told if isinstance(item, dict)} if isinstance(told, list) else set()
        )
        yield from (kind for kind in kinds if kind.plural not in names)
