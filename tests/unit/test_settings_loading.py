"""Settings: variables, secret files, and one sentence per problem."""

import os
from pathlib import Path

import pytest
from carillon_email_worker.settings import EmailSettings
from carillon_shared.settings import ServiceSettings, load_settings
from carillon_whatsapp_worker.settings import WhatsappSettings

NEEDED = {
    "CARILLON_DATABASE_URL": "postgresql://u:hidden@127.0.0.1/carillon",
    "CARILLON_BROKER_URL": "amqp://u:hidden@127.0.0.1/",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("CARILLON_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def sentences(cls: type[ServiceSettings], capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit) as caught:
        load_settings(cls)
    assert caught.value.code == 2
    output = capsys.readouterr().err
    assert "hidden" not in output
    return output.splitlines()


def test_variables_are_read(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("CARILLON_EMAIL_SMTP_PORT", "2525")
    environment.setenv("CARILLON_METRICS_PORT", "0")
    settings = load_settings(EmailSettings)
    assert settings.database_url.get_secret_value() == NEEDED["CARILLON_DATABASE_URL"]
    assert (settings.email_smtp_port, settings.metrics_port, settings.log_level) == (2525, 0, "INFO")
    assert settings.message_id_domain == "carillon.test"


def test_secrets_may_be_in_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("CARILLON_DATABASE_URL")
    file = tmp_path / "url"
    file.write_text("postgresql://from-a-file\n")
    environment.setenv("CARILLON_DATABASE_URL_FILE", str(file))
    assert load_settings(ServiceSettings).database_url.get_secret_value() == "postgresql://from-a-file"


def test_a_file_that_is_not_there_is_one_sentence(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CARILLON_EMAIL_SMTP_PASSWORD_FILE", "/nowhere/at/all")
    expected = "CARILLON_EMAIL_SMTP_PASSWORD_FILE names a file that cannot be read: no such file or directory"
    assert sentences(EmailSettings, capsys) == [expected]


def test_every_problem_is_a_line_and_no_value_is_shown(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("CARILLON_BROKER_URL")
    environment.setenv("CARILLON_EMAIL_SMTP_PORT", "hidden")
    environment.setenv("CARILLON_EMAIL_SENDER_ADDRESS", "hidden")
    lines = sentences(EmailSettings, capsys)
    assert len(lines) == 3
    assert lines[0].startswith("CARILLON_BROKER_URL is not set.")
    assert any(line.startswith("CARILLON_EMAIL_SMTP_PORT is wrong: ") for line in lines)
    assert any("CARILLON_EMAIL_SENDER_ADDRESS is wrong: it is no e-mail address." in line for line in lines)


def test_half_a_login_is_a_problem(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CARILLON_EMAIL_SMTP_USERNAME", "u")
    assert sentences(EmailSettings, capsys) == [
        "CARILLON_EMAIL_SMTP_USERNAME and CARILLON_EMAIL_SMTP_PASSWORD go together."
    ]


def test_the_cloud_api_needs_an_account_and_the_sandbox_none(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentences(WhatsappSettings, capsys) == [
        "CARILLON_WHATSAPP_PHONE_NUMBER_ID is not set, and CARILLON_WHATSAPP_PROVIDER is cloud_api."
    ]
    environment.setenv("CARILLON_WHATSAPP_PROVIDER", "sandbox")
    assert load_settings(WhatsappSettings).whatsapp_provider == "sandbox"


def test_second_providers_need_their_account(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("CARILLON_WHATSAPP_PROVIDER", "twilio")
    assert sentences(WhatsappSettings, capsys) == [
        "CARILLON_WHATSAPP_TWILIO_ACCOUNT_SID is not set, and Twilio is chosen."
    ]
    environment.setenv("CARILLON_WHATSAPP_TWILIO_ACCOUNT_SID", "AC1")
    environment.setenv("CARILLON_WHATSAPP_TWILIO_AUTH_TOKEN", "token")
    environment.setenv("CARILLON_WHATSAPP_TWILIO_SENDER", "+12025550100")
    environment.setenv("CARILLON_WHATSAPP_TWILIO_CONTENTS", '{"solved/mn": "HX1"}')
    assert load_settings(WhatsappSettings).whatsapp_twilio_contents == {"solved/mn": "HX1"}
    environment.setenv("CARILLON_EMAIL_FALLBACK_PROVIDER", "resend")
    (sentence,) = sentences(EmailSettings, capsys)
    assert sentence.startswith("CARILLON_EMAIL_RESEND_API_KEY is not set")
    environment.setenv("CARILLON_EMAIL_RESEND_API_KEY", "key")
    assert load_settings(EmailSettings).email_provider == "smtp"


@pytest.mark.parametrize("url", ["ftp://x", "graph.facebook.com", "https://x/path", "http://a b"])
def test_an_api_url_that_is_none_is_a_problem(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    environment.setenv("CARILLON_WHATSAPP_PROVIDER", "sandbox")
    environment.setenv("CARILLON_WHATSAPP_API_URL", url)
    assert [line.split(" ")[0] for line in sentences(WhatsappSettings, capsys)] == [
        "CARILLON_WHATSAPP_API_URL"
    ]
