"""What can go wrong in the lab."""


class LabError(Exception):
    """Base of all errors of the lab; the message says what to do next."""


class MissingToolError(LabError):
    """A program is neither on this machine nor to be had; the message lists what was tried."""


class ProcessError(LabError):
    """A child process died, or was not ready in time; the message ends with its log's tail."""


class KubectlError(LabError):
    """kubectl answered with a non-zero exit code; the message holds its words."""

    def __init__(self, arguments: tuple[str, ...], exit_code: int, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: exit code {exit_code}: {stderr.strip()}")
        self.exit_code = exit_code
        self.stderr = stderr


class ApiError(LabError):
    """The API server answered with an HTTP error."""

    def __init__(self, method: str, path: str, status: int, message: str) -> None:
        super().__init__(f"{method} {path}: HTTP {status}: {message}")
        self.status = status
        self.message = message
