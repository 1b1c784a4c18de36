"""A local database that was made by other migrations than those of today."""

from pathlib import Path

import pytest
from carillon_local.accounts import Account
from carillon_local.errors import LocalError
from carillon_local.schema_marks import SchemaMarks, shipped_migrations


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "schema"
    (folder / "0001_first").mkdir(parents=True)
    (folder / "0001_first" / "10_tables.sql").write_text("CREATE TABLE a ();", encoding="utf-8")
    (folder / "__init__.py").touch()
    return folder


@pytest.fixture
def marks(tmp_path: Path, migrations: Path) -> SchemaMarks:
    (tmp_path / "postgres").mkdir()
    return SchemaMarks(tmp_path / "postgres", Account(), migrations)


def test_an_empty_database_and_an_unchanged_one_are_fine(marks: SchemaMarks) -> None:
    marks.check()
    marks.write()
    marks.check()


def test_a_new_migration_is_applied_and_no_reason_to_complain(marks: SchemaMarks, migrations: Path) -> None:
    marks.write()
    (migrations / "0002_second").mkdir()
    (migrations / "0002_second" / "10_more.sql").write_text("CREATE TABLE b ();", encoding="utf-8")
    marks.check()


@pytest.mark.parametrize("change", ["edit", "rename", "remove"])
def test_an_edited_migration_is_named_with_the_folder_to_remove(
    marks: SchemaMarks, migrations: Path, tmp_path: Path, change: str
) -> None:
    marks.write()
    script = migrations / "0001_first" / "10_tables.sql"
    match change:
        case "edit":
            script.write_text("CREATE TABLE a (n int);", encoding="utf-8")
        case "rename":
            script.rename(script.with_name("20_tables.sql"))
        case _:
            script.unlink()
            script.parent.rmdir()
    with pytest.raises(LocalError, match=f"0001_first.*{tmp_path / 'postgres'}"):
        marks.check()


def test_the_migrations_of_this_release_are_found() -> None:
    assert "0001_initial" in {folder.name for folder in shipped_migrations().iterdir()}
