"""What can be wrong with content."""

from dataclasses import dataclass

from carillon_shared.domain.states import Reason


class ContentError(Exception):
    """A template is missing, broken or lacks a variable. Trying again cannot help; a person must look.

    `detail` names the template and what is wrong, never a value of the event or of the subscriber.
    """

    def __init__(
        self, detail: str, *, reason: Reason = Reason.TEMPLATE_ERROR, pointer: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.reason = reason
        self.pointer = pointer  # JSON pointer (RFC 6901) into the template, where one field is meant


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """One thing wrong with a template, found when it is saved."""

    pointer: str  # JSON pointer (RFC 6901) into the template, such as "/html"
    detail: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one field of a template."""

    line: int
    detail: str


class BrokenTemplateError(Exception):
    """A template that cannot be compiled, with every fault found."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"line {fault.line} {fault.detail}" for fault in faults))
        self.faults = faults
