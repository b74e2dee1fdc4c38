"""Label selectors, with the meaning that Kubernetes gives them."""

from collections.abc import Callable, Mapping

from edgecanary.api.meta import LabelSelector, LabelSelectorRequirement

Labels = Mapping[str, str]


def matches(selector: LabelSelector, labels: Labels) -> bool:
    """Whether the labels meet every requirement of the selector; an empty selector matches all."""
    return matcher(selector)(labels)


def matcher(selector: LabelSelector) -> Callable[[Labels], bool]:
    """`matches` for one selector and many nodes."""
    wanted = tuple(selector.match_labels.items())
    requirements = selector.match_expressions

    def meets_all(labels: Labels) -> bool:
        for key, value in wanted:
            if labels.get(key) != value:
                return False
        return all(_meets(requirement, labels) for requirement in requirements) if requirements else True

    return meets_all


def _meets(requirement: LabelSelectorRequirement, labels: Labels) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
