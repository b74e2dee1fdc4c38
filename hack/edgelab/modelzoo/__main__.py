"""Make the zoo and print what its models are worth: `python -m edgelab.modelzoo`."""

import sys

from edgelab.errors import LabError
from edgelab.modelzoo.field import collect
from edgelab.modelzoo.measure import measure
from edgelab.modelzoo.store import open_zoo

FILE_TYPE_MODELS = ("fp32", "int8", "lookup", "lookup-int8", "int8-careless", "short-table")


def main() -> int:
    """Print where the models are and a table of accuracy, agreement and time on this machine's files."""
    try:
        zoo = open_zoo()
        field = collect(zoo.labels)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"models: {zoo.folder}")
    print(f"field: {len(field)} files: {', '.join(f'{n} {label}' for label, n in field.counts().items())}")
    print(f"{'model':<18}{'bytes':>10}{'accuracy':>10}{'as fp32':>9}{'failed':>8}{'CPU ms':>8}  sha256")
    reference = measure(zoo["fp32"], field)
    for name in FILE_TYPE_MODELS:
        got = reference if name == "fp32" else measure(zoo[name], field)
        figures = f"{got.accuracy(field):>10.3f}{got.agreement(reference):>9.3f}{got.failed():>8.3f}"
        file = zoo[name].model
        print(f"{name:<18}{file.size_bytes:>10}{figures}{got.cpu_milliseconds:>8.2f}  {file.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
