"""Error answers of the WhatsApp Cloud API: codes, HTTP statuses, titles and details.

Source: Meta's page "Cloud API error codes" and the `Error` schema of Meta's OpenAPI document (v23.0).
Clients are told to go by the code, not by the status or the title.
"""

import secrets
from dataclasses import dataclass
from typing import Any

HELP_PAGE = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"


@dataclass(frozen=True, slots=True)
class KnownError:
    """One row of the table."""

    code: int
    status: int
    title: str
    details: str


_ROWS = (
    (0, 401, "AuthException", "The app user could not be authenticated"),
    (1, 400, "API Unknown", "Invalid request or possible server error"),
    (2, 503, "API Service", "Temporary due to downtime or due to being overloaded"),
    (3, 500, "API Method", "Capability or permissions issue"),
    (4, 429, "API Too Many Calls", "The app has reached its API call rate limit"),
    (10, 403, "Permission Denied", "Permission is either not granted or has been removed"),
    (33, 400, "Parameter value is not valid", "The business phone number has been deleted"),
    (100, 400, "Invalid parameter", "The request included unsupported or misspelled parameters"),
    (190, 401, "Access token has expired", "The access token has expired"),
    (200, 403, "API Permission", "Permission is either not granted or has been removed"),
    (368, 403, "Temporarily blocked for policies violations", "The account was restricted or disabled"),
    (80007, 429, "Rate limit issues", "The WhatsApp Business Account has reached its rate limit"),
    (130429, 429, "Rate limit hit", "Cloud API message throughput has been reached"),
    (130472, 400, "User's number is part of an experiment", "Message was not sent, part of an experiment"),
    (130497, 403, "Business account is restricted from messaging users in this country", "Country"),
    (131000, 500, "Something went wrong", "Message failed to send due to an unknown error"),
    (131005, 403, "Access denied", "Permission is either not granted or has been removed"),
    (131008, 400, "Required parameter is missing", "The request is missing a required parameter"),
    (131009, 400, "Parameter value is not valid", "One or more parameter values are invalid"),
    (131016, 500, "Service unavailable", "A service is temporarily unavailable"),
    (131021, 400, "Recipient cannot be sender", "Sender and recipient phone number is the same"),
    (131026, 400, "Message undeliverable", "Unable to deliver message"),
    (131031, 403, "Business Account locked", "The account was restricted, disabled or its data not verified"),
    (131042, 400, "Business eligibility payment issue", "There was an error related to the payment method"),
    (131045, 500, "Incorrect certificate", "Message failed due to a phone number registration error"),
    (131047, 400, "Re-engagement message", "More than 24 hours have passed since the recipient last replied"),
    (131048, 429, "Spam rate limit hit", "Restrictions on how many messages can be sent from this number"),
    (131049, 400, "Meta chose not to deliver", "Not delivered to maintain healthy ecosystem engagement"),
    (131050, 400, "User has stopped marketing", "The recipient chose to stop receiving marketing messages"),
    (131051, 400, "Unsupported message type", "Unsupported message type"),
    (131052, 400, "Media download error", "Unable to download the media sent by the user"),
    (131053, 400, "Media upload error", "Unable to upload the media used in the message"),
    (131056, 429, "(Business Account, Consumer Account) pair rate limit hit", "Too many to the same number"),
    (131057, 500, "Account in maintenance mode", "Business Account is in maintenance mode"),
    (132000, 400, "Number of parameters does not match the expected number of params", "Parameter count"),
    (132001, 404, "Template name does not exist in the translation", "No such template in this language"),
    (132005, 400, "Translated text too long", "Translated text is too long"),
    (132007, 400, "Template Format Character Policy Violated", "Template content violates a policy"),
    (132008, 400, "Template parameter format mismatch", "Parameter values formatted incorrectly"),
    (132012, 400, "Template parameter format mismatch", "Variable parameter values formatted incorrectly"),
    (132015, 400, "Template is Paused", "The template is paused due to low quality"),
    (132016, 400, "Template is Disabled", "The template was paused too many times and is disabled"),
    (132018, 400, "There's an issue with the parameters in your template", "Parameter text is not allowed"),
    (133010, 400, "Phone number not registered", "The phone number is not registered"),
)
ERRORS = {code: KnownError(code, status, title, details) for code, status, title, details in _ROWS}


def known_error(code: int) -> KnownError:
    """The row of a code; a code without one is a plain bad request."""
    return ERRORS.get(code) or KnownError(code, 400, "Unknown error", "An error without a row in the table")


class CloudApiError(Exception):
    """An error answer on its way to the client."""

    def __init__(
        self, code: int, details: str | None = None, *, message: str | None = None, status: int | None = None
    ) -> None:
        known = known_error(code)
        self.code = code
        self.status = status or known.status
        self.message = message or f"(#{code}) {known.title}"
        self.details = details or known.details
        super().__init__(self.message)

    def body(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "error": {
                "message": self.message,
                "type": "OAuthException",
                "code": self.code,
                "error_data": {"messaging_product": "whatsapp", "details": self.details},
                "fbtrace_id": fbtrace_id(),
            }
        }


def webhook_error(code: int) -> dict[str, Any]:
    """The entry of a failed status's `errors` list."""
    known = known_error(code)
    return {
        "code": known.code,
        "title": known.title,
        "message": known.title,
        "error_data": {"details": known.details},
        "href": HELP_PAGE,
    }


def fbtrace_id() -> str:
    """A trace id as Meta's servers make them."""
    return "A" + secrets.token_urlsafe(16)
