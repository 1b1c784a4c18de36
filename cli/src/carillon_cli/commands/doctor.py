"""`carillon doctor`: what is missing, in clear sentences."""

from dataclasses import asdict

from carillon_cli.connection import this_checkout
from carillon_cli.failures import CommandError
from carillon_cli.output import JsonFlag, print_json, print_line


def doctor(as_json: JsonFlag = False) -> None:
    """Look for what keeps the platform from working, and say how to mend it; exit code 1 when there is."""
    from carillon_cli.findings import examine  # noqa: PLC0415 - loads much that other commands do without

    findings = examine(this_checkout())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            print_line(f"{'✓' if finding.fine else '✗'} {finding.what}: {finding.detail}")
            if finding.mend:
                print_line(f"    {finding.mend}")
    wrong = sum(not finding.fine for finding in findings)
    if wrong:
        raise CommandError(f"{wrong} of {len(findings)} things need looking after.")
