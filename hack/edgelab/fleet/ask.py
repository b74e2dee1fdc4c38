"""One question to one agent, as a client would ask it."""

import http.client
from typing import Protocol

from edgelab.modelzoo.field import Sample
from edgelab.modelzoo.protocol import Answer, GarbledAnswerError, json_request, read_answer

_TIMEOUT_SECONDS = 10.0


class Asked(Protocol):
    """An agent that can be asked."""

    @property
    def node(self) -> str:
        """The name of its node."""

    @property
    def serving_port(self) -> int:
        """The loopback port here at which it answers."""

    @property
    def running(self) -> bool:
        """Whether it runs, as far as that is known here."""


class NoAnswerError(Exception):
    """The agent gave no answer to a question; the message has its words."""


def ask(agent: Asked, model: str, sample: Sample, *, labels: int) -> Answer:
    """What the agent says of a file, and which revision says it.

    Raises:
        NoAnswerError: it refused the connection, answered with an HTTP error, or not as the protocol says.
    """
    request = json_request("ask", sample.features)
    connection = http.client.HTTPConnection("127.0.0.1", agent.serving_port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", request.body, request.headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(f"{agent.node}: {type(error).__name__} {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise NoAnswerError(f"{agent.node}: HTTP {response.status}: {body[:200].decode(errors='replace')}")
    try:
        return read_answer(body, None, request_id="ask", labels=labels)
    except GarbledAnswerError as error:
        raise NoAnswerError(f"{agent.node}: {error}") from error
