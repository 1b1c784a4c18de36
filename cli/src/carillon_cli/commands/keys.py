"""`carillon keys`: made directly in the database, because who has no key yet cannot ask the API."""

import asyncio
from typing import Annotated

import typer
from carillon_shared.credentials import SCOPES, parse_api_key

from carillon_cli.connection import this_checkout
from carillon_cli.failures import WrongUseError
from carillon_cli.key_store import create_key, revoke_key
from carillon_cli.output import JsonFlag, print_json, print_line
from carillon_cli.recorded import api_key_pepper, owner_database_url
from carillon_cli.settings import cli_settings

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command()
def create(
    tenant: Annotated[str, typer.Option(help="The tenant's short name: lower case, digits, dashes.")],
    scopes: Annotated[str, typer.Option(help=f"With commas between: {', '.join(SCOPES)}.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    create_tenant: Annotated[bool, typer.Option("--create-tenant", help="Make a missing tenant.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make an API key and print it; it is shown this once."""
    wanted = parse_scopes(scopes)
    settings, checkout = cli_settings(), this_checkout()
    key = asyncio.run(
        create_key(
            owner_database_url(settings, checkout),
            tenant=tenant,
            scopes=wanted,
            pepper=api_key_pepper(settings, checkout),
            name=name,
            create_tenant=create_tenant,
        )
    )
    if as_json:
        print_json({"key_id": key.id, "key": str(key)})
    else:
        print_line(str(key))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The part after ck_, or the whole key.")],
    as_json: JsonFlag = False,
) -> None:
    """Revoke an API key; the API refuses it within seconds."""
    parsed = parse_api_key(key_id)
    identifier = parsed.id if parsed else key_id
    asyncio.run(revoke_key(owner_database_url(cli_settings(), this_checkout()), identifier))
    if as_json:
        print_json({"key_id": identifier, "revoked": True})
    else:
        print_line(f"The key {identifier} is revoked.")


def parse_scopes(text: str) -> list[str]:
    """Return the scopes in a text. Raises `WrongUseError` for none and for an unknown one."""
    wanted = [scope.strip() for scope in text.split(",") if scope.strip()]
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown or not wanted:
        named = f"{', '.join(unknown)}: no such scope" if unknown else "No scope is named"
        raise WrongUseError(f"{named}. There are {', '.join(SCOPES)}.")
    return wanted
