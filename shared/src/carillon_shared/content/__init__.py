"""Templates: sandboxed rendering per channel and locale. See docs/decisions/0002-template-language.md."""

from carillon_shared.content.audience import lint_audience_rule, render_audience_rule
from carillon_shared.content.builtin import builtin_templates
from carillon_shared.content.email_content import RenderedEmail, render_email
from carillon_shared.content.errors import ContentError, TemplateProblem
from carillon_shared.content.inapp_content import RenderedInapp, render_inapp
from carillon_shared.content.layouts import in_layout, lint_layout, with_layouts
from carillon_shared.content.lint import lint_template
from carillon_shared.content.locales import select_locale
from carillon_shared.content.preview import preview, render
from carillon_shared.content.sharing import RenderPlan, depends_on_formatting, depends_on_subscriber
from carillon_shared.content.whatsapp_content import ApprovedTemplate, RenderedWhatsapp, render_whatsapp

__all__ = [
    "ApprovedTemplate",
    "ContentError",
    "RenderPlan",
    "RenderedEmail",
    "RenderedInapp",
    "RenderedWhatsapp",
    "TemplateProblem",
    "builtin_templates",
    "depends_on_formatting",
    "depends_on_subscriber",
    "in_layout",
    "lint_audience_rule",
    "lint_layout",
    "lint_template",
    "preview",
    "render",
    "render_audience_rule",
    "render_email",
    "render_inapp",
    "render_whatsapp",
    "select_locale",
    "with_layouts",
]
