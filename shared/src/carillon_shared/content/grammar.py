"""The part of Jinja2's language that templates may use, and what a template mentions.

Everything not listed is refused: calls, arithmetic, joining with `~`, slices, `set`, macros, includes,
inheritance. What remains cannot reach Python, and its cost is bounded by the template's size times the
items it loops over, which `meter` makes it pay for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from jinja2 import Environment, nodes

from carillon_shared.content.errors import Fault

MAX_NODES = 5_000
MAX_DEPTH = 40

ROOTS = frozenset({"data", "subscriber", "event", "tenant"})
"""The variables a template begins with."""

TESTS = frozenset({"defined", "undefined", "none", "string", "number", "boolean", "mapping", "sequence"})

LOOP_FILTER = "_loop"
COMPARE_FILTER = "_compare"
SEARCH_FILTER = "_search"
"""Filters of our own that make loops and comparisons pay. `check` refuses them in a template's text."""

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.If,
    nodes.For,
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Test,
    nodes.Keyword,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Neg,
    nodes.CondExpr,
    nodes.List,
    nodes.Tuple,
)

_WORDS: dict[type[nodes.Node], str] = {
    nodes.Call: "a call",
    nodes.CallBlock: "a call block",
    nodes.Concat: "joining with ~",
    nodes.Assign: "set",
    nodes.AssignBlock: "set",
    nodes.Slice: "a slice",
    nodes.Macro: "a macro",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "a block",
    nodes.FilterBlock: "a filter block",
    nodes.Dict: "a dictionary",
    nodes.With: "with",
}


@dataclass(frozen=True, slots=True)
class Path:
    """A variable as it is written: `data.ticket.id`."""

    parts: tuple[str, ...]
    line: int

    def __str__(self) -> str:
        """Return it as it is written."""
        return ".".join(self.parts)


def check(tree: nodes.Template, *, filters: frozenset[str]) -> list[Fault]:
    """Return what the template uses that it must not."""
    faults: list[Fault] = []
    for count, (node, depth) in enumerate(_walk(tree)):
        if count >= MAX_NODES or depth > MAX_DEPTH:
            faults.append(Fault(node.lineno, "is too large or nested too deeply"))
            return faults
        detail = _fault(node, filters)
        if detail is not None:
            faults.append(Fault(node.lineno, detail))
    return faults or _unknown_names(tree)


def paths(tree: nodes.Template) -> tuple[Path, ...]:
    """Return the variables it mentions, except those of its own loops."""
    found = {path.parts: path for path in _paths(tree) if path.parts[0] in ROOTS}
    return tuple(found.values())


def filters_used(tree: nodes.Template) -> frozenset[str]:
    """Return the names of the filters it uses."""
    return frozenset(node.name for node in tree.find_all(nodes.Filter))


def meter(tree: nodes.Template, environment: Environment) -> None:
    """Rewrite loops and comparisons so that they pay from the rendering's budget. Call after `check`."""
    for loop in list(tree.find_all(nodes.For)):
        cost = sum(1 for _ in _walk(loop))
        loop.iter = _filtered(cast("nodes.Expr", loop.iter), LOOP_FILTER, environment, nodes.Const(cost))
    for comparison in list(tree.find_all(nodes.Compare)):
        comparison.expr = _filtered(comparison.expr, COMPARE_FILTER, environment)
        for operand in comparison.ops:
            name = SEARCH_FILTER if operand.op in {"in", "notin"} else COMPARE_FILTER
            operand.expr = _filtered(operand.expr, name, environment)


def _filtered(node: nodes.Expr, name: str, environment: Environment, *args: nodes.Expr) -> nodes.Filter:
    made = nodes.Filter(node, name, list(args), [], None, None)
    return made.set_lineno(node.lineno).set_environment(environment)  # type: ignore[return-value] # typed as Node


def _walk(root: nodes.Node) -> Iterator[tuple[nodes.Node, int]]:
    waiting = [(root, 0)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


def _fault(node: nodes.Node, filters: frozenset[str]) -> str | None:
    if not isinstance(node, _ALLOWED):
        return f"uses {_WORDS.get(type(node), f'{type(node).__name__.lower()}')}, which templates cannot do"
    if isinstance(node, nodes.Filter):
        return _filter_fault(node, filters)
    if _name_of(node).startswith("__"):
        return f"names {_name_of(node)!r}; two underscores begin no variable"
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        return f"uses the unknown test {node.name!r}"
    return _form_fault(node)


def _form_fault(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.For) and node.recursive:
        return "uses a recursive loop"
    if isinstance(node, nodes.CondExpr) and node.expr2 is None:
        return "has an `if` without `else` inside an expression"
    return None


def _name_of(node: nodes.Node) -> str:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return str(node.arg.value)
    return ""


def _filter_fault(node: nodes.Filter, filters: frozenset[str]) -> str | None:
    if node.name not in filters:
        return f"uses the unknown filter {node.name!r}"
    if node.node is None or node.dyn_args is not None or node.dyn_kwargs is not None:
        return f"uses the filter {node.name!r} in a way templates cannot"
    return None


def _unknown_names(tree: nodes.Template) -> list[Fault]:
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    known = ROOTS | own | {"loop"}
    return [
        Fault(name.lineno, f"mentions {name.name!r}; variables begin with data, subscriber, event or tenant")
        for name in tree.find_all(nodes.Name)
        if name.ctx == "load" and name.name not in known
    ]


def _paths(node: nodes.Node) -> Iterator[Path]:
    path = _path(node)
    if path is not None:
        yield path
        return
    for child in node.iter_child_nodes():
        yield from _paths(child)


def _path(node: nodes.Node) -> Path | None:
    parts: list[str] = []
    while True:
        if isinstance(node, nodes.Name):
            return Path((node.name, *reversed(parts)), node.lineno)
        if isinstance(node, nodes.Getattr):
            parts.append(node.attr)
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            parts.append(str(node.arg.value))
        else:
            return None
        node = node.node
