"""`.env.example` names every variable that the code reads, and none that it does not."""

import ast
import re
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings
from support.environment_example import HEADINGS, PREFIX, Variable, example_text, sections, settings_classes

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / ".env.example"
SOURCES = [
    path
    for folder in ("shared", "services", "cli", "clients", "deploy", "tests/support")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
# A name without its end is the beginning of names that are put together elsewhere.
NAME = re.compile(rf"{PREFIX}[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)")
SECTIONS = sections()
ALL = [variable for variables in SECTIONS.values() for variable in variables]


def test_the_file_is_what_the_code_says() -> None:
    assert EXAMPLE.read_text(encoding="utf-8") == example_text() + "\n", (
        "run `PYTHONPATH=tests python -m support.environment_example > .env.example`"
    )


def test_every_package_with_settings_has_a_heading() -> None:
    assert set(settings_classes()) == set(HEADINGS)


@pytest.mark.parametrize("variable", ALL, ids=lambda variable: variable.name)
def test_a_setting_says_what_it_is(variable: Variable) -> None:
    assert variable.name.startswith(PREFIX)
    assert variable.description.endswith((".", ":"))
    assert f"#{variable.name}=" in EXAMPLE.read_text(encoding="utf-8")


def test_every_variable_that_the_code_names_is_documented() -> None:
    documented = {variable.name for variable in ALL}
    named = {(name, path.relative_to(ROOT)) for path in SOURCES for name in _names(path)}
    assert len(named) > 20
    assert {(name, path) for name, path in named if name.removesuffix("_FILE") not in documented} == set()


def test_nothing_reads_the_environment_into_settings_under_another_prefix() -> None:
    for settings in _subclasses(BaseSettings):
        if settings.__module__.startswith("carillon_"):
            assert str(settings.model_config["env_prefix"]).startswith(PREFIX), settings


def _names(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {name for text in texts for name in NAME.findall(text)}


def _subclasses(of: type[BaseSettings]) -> list[type[BaseSettings]]:
    direct = of.__subclasses__()
    return direct + [deeper for cls in direct for deeper in _subclasses(cls)]
