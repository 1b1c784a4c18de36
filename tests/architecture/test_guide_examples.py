"""What the guide shows can be registered and rendered as it stands."""

import json
import re
from pathlib import Path

import yaml
from carillon_api.registry.models import EventTypeBody
from carillon_api.subscribers.tenant_defaults import TenantDefaults
from carillon_cli.registry.file import RegistryFile
from carillon_shared.content import lint_layout, lint_template, preview, with_layouts
from carillon_shared.domain.channels import Channel
from carillon_shared.domain.delivery import Recipient, TenantProfile

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "templates.md"
TEXT = GUIDE.read_text(encoding="utf-8")


def _registry() -> RegistryFile:
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    return RegistryFile.model_validate(yaml.safe_load(block))


def test_the_registry_of_the_guide_is_a_good_one() -> None:
    registry = _registry()
    TenantDefaults.model_validate(registry.defaults)
    assert [problem for layout in registry.layouts.values() for problem in lint_layout(layout)] == []
    for entry in registry.event_types:
        EventTypeBody.model_validate(entry.body)
        for channel, locales in entry.templates.items():
            for content in locales.values():
                assert lint_template(Channel(channel), content) == []


def test_the_preview_of_the_guide_shows_a_whole_mail() -> None:
    registry = _registry()
    (entry,) = registry.event_types
    (body,) = re.findall(r"-d '(\{.*?\})'", TEXT, re.DOTALL)
    asked = json.loads(body)
    person = Recipient(
        "u-7", 7, None, None, asked["subscriber"]["locale"], None, asked["subscriber"]["attributes"]
    )
    for channel, locales in entry.templates.items():
        templates = with_layouts(locales, registry.layouts, "en") if channel == "email" else locales
        for locale, content in templates.items():
            shown = preview(
                channel=Channel(channel),
                locale=locale,
                content=content,
                event_type=entry.type,
                data=asked["data"],
                tenant=TenantProfile("acme", "Acme", brand=(registry.defaults or {})["brand"]),
                recipient=person,
            )
            assert "A-17" in json.dumps(shown)
