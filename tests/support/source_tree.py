"""What the architecture tests look at: the files of this repository and the packages in it."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def project_files() -> tuple[Path, ...]:
    """Return every file that is tracked by git, or would be when it is added."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git of the machine
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(sorted(path for path in paths if path.is_file()))


def python_files() -> list[Path]:
    """Return all Python files."""
    return [path for path in project_files() if path.suffix == ".py"]


@cache
def source_files() -> tuple[Path, ...]:
    """Return the Python files that are shipped."""
    return tuple(path for path in python_files() if "src" in path.relative_to(ROOT).parts)


def packages() -> dict[str, list[str]]:
    """Return the modules of each package of the workspace, by their names."""
    found: dict[str, list[str]] = {}
    for path in source_files():
        parts = path.relative_to(ROOT).parts
        names = [*parts[parts.index("src") + 1 : -1], path.stem]
        module = ".".join(names).removesuffix(".__init__")
        found.setdefault(names[0], []).append(module)
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def functions_of(file: str) -> set[str]:
    """Return the names of the functions in a file of this repository."""
    return {
        node.name
        for node in parsed(ROOT / file).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def texts_in(path: Path) -> Iterator[str]:
    """Return every string constant of a file."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def shown(path: Path) -> str:
    """Return a path as it is written in a message."""
    return path.relative_to(ROOT).as_posix()
