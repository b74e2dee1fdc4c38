"""The errors that cross layer boundaries.

Every error carries a machine `reason` (PascalCase, stable, used in conditions, Events and metrics)
and a human message that says what is wrong and what to do next.
"""


class EdgecanaryError(Exception):
    """Base of all expected failures. Anything else that is raised is a defect of the program."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


class InvalidInput(EdgecanaryError):
    """The user's input breaks a rule; retrying cannot help until the input changes.

    `field` is the dotted path of the offending field, such as `spec.strategy.steps[1].percent`.
    """

    def __init__(self, field: str, message: str, *, reason: str = "InvalidSpec") -> None:
        super().__init__(reason, f"{field}: {message}" if field else message)
        self.field = field


class NotAllowed(InvalidInput):
    """What is asked for is well-formed, and a rule of the cluster's or the node's administrator forbids it.

    `rule` is the message without the field's name.
    """

    def __init__(self, field: str, rule: str, *, reason: str = "NotGranted") -> None:
        super().__init__(field, rule, reason=reason)
        self.rule = rule

    def of(self, field: str) -> "NotAllowed":
        """The same, said of a field."""
        return NotAllowed(field, self.rule, reason=self.reason)


class Unavailable(EdgecanaryError):
    """Something outside did not answer, or not in time; retrying later may help.

    `retry_after_seconds` is what the other side asked to be left alone for; 0 when it did not.
    """

    def __init__(self, reason: str, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason, message)
        self.retry_after_seconds = retry_after_seconds


class Conflict(EdgecanaryError):
    """Somebody else wrote first; observe again and plan anew."""


class NotFound(EdgecanaryError):
    """The named thing does not exist."""


class WrongAnswer(EdgecanaryError):
    """Something outside answered, and the answer breaks its protocol or its bounds."""
