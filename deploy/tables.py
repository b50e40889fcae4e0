#!/usr/bin/env python3
"""
What is made from the tables in core/ (*.def): the enums of openapi.yaml, docs/errors.md and docs/events.md.

    deploy/tables.py           writes them
    deploy/tables.py --check   fails when one of them is out of date
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "    # ---- made by deploy/tables.py from core/*.def\n"
END = "    # ---- end of what deploy/tables.py makes\n"
ROW = re.compile(r"^X\(((?:[^()\"]|\"(?:[^\"\\]|\\.)*\")*)\)$", re.M)
CELL = re.compile(r"\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^,\"]+?))\s*(?:,|$)")
NOTE = "<!-- Made by deploy/tables.py from {}; change those instead. -->\n"


def read(name, *columns):
    """The rows of core/<name>.def as dictionaries."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "core" / f"{name}.def").read_text(), flags=re.S)
    rows = [[a or b for a, b in CELL.findall(row)] for row in ROW.findall(text)]
    rows = [row[: len(columns)] for row in rows]
    if len(rows) != len(re.findall(r"^X\(", text, re.M)) or any(len(row) != len(columns) for row in rows):
        sys.exit(f"core/{name}.def has rows that are none: X({', '.join(columns)})")
    return [dict(zip(columns, row)) for row in rows]


ERRORS = read("error", "name", "status", "title", "sentence")
EVENTS = read("event_type", "name", "text", "resource", "data", "sentence")
TYPES = read("condition_type", "name", "text", "resource", "sentence")
REASONS = read("condition_reason", "name", "text", "types", "sentence")


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def camel(name):
    return "".join(word.capitalize() for word in name.split("_"))


def enum(name, description, rows):
    """A schema; `rows` are (value, its name in programs, sentence)."""
    lines = [f"{name}:", f"  description: {quoted(description)}", "  type: string", "  enum:"]
    lines += [f"    - {value}" for value, _, _ in rows]
    lines += ["  x-enum-varnames:"] + [f"    - {variable}" for _, variable, _ in rows]
    lines += ["  x-enum-descriptions:"] + [f"    - {quoted(sentence)}" for _, _, sentence in rows]
    return "".join(f"    {line}\n" for line in lines)


def schemas():
    codes = [(row["name"], camel(row["name"]), f"{row['title']}. {row['sentence']}") for row in ERRORS]
    reasons = [(row["text"], "Reason" + camel(row["name"]), row["sentence"]) for row in REASONS]
    return "".join([
        enum("ErrorCode", "What went wrong, for programs; a code is never renamed. docs/errors.md has them all.", [(c, "Code" + n, s) for c, n, s in codes]),
        enum("EventType", "What happened; a type is never renamed. docs/events.md has them all.", [(row["text"], "Event" + camel(row["name"]), row["sentence"]) for row in EVENTS]),
        enum("ConditionType", "What a condition is about. docs/events.md has them all.", [(row["text"], "Condition" + camel(row["name"]), row["sentence"]) for row in TYPES]),
        enum("ConditionReason", "Why the status of a condition is what it is: a word for programs, or the code of an error. docs/events.md has them all.",
             reasons + [(c, "ReasonCode" + n, s) for c, n, s in codes]),
    ])


def openapi(text):
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        sys.exit("openapi.yaml has lost the marks that deploy/tables.py writes between")
    head, rest = text.split(BEGIN)
    return head + BEGIN + schemas() + END + rest.split(END)[1]


def table(head, rows):
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def errors_md(_):
    return "\n".join([
        "# Errors\n",
        NOTE.format("core/error.def"),
        "An error is `application/problem+json` (RFC 9457). `code` is for programs and never renamed; `title` belongs to the code; `detail` is a sentence about this\n"
        "error, for people; `errors` has an entry for each wrong field. The status of a write that was waited for, and then failed, is 409 where the code's own is\n"
        "below 500 (docs/api.md, \"Waits\"). The same codes stand in `error` of resources that failed, in the log, and as `reason` of conditions.\n",
        table(["code", "status", "title", "what it means"], [[f"`{row['name']}`", row["status"], row["title"], row["sentence"]] for row in ERRORS]),
    ])


def events_md(_):
    paths = lambda text: " or ".join(f"`{path}`" for path in text.split(" or "))  # noqa: E731
    words = lambda text: ", ".join(f"`{word}`" for word in text.split(", "))  # noqa: E731
    return "\n".join([
        "# Events and conditions\n",
        NOTE.format("core/event_type.def, core/condition_type.def and core/condition_reason.def"),
        "## Events\n",
        "What `GET /events` tells (docs/api.md, \"Events\"): `type`, the `resource` that it happened to, and `data`.\n",
        table(["type", "resource", "what happened", "data"],
              [[f"`{row['text']}`", paths(row["resource"]), row["sentence"], row["data"] or "none"] for row in EVENTS]),
        "## Types of conditions\n",
        "What a resource tells of itself in `conditions` (docs/api.md, \"Conditions\").\n",
        table(["type", "of", "what it says"], [[f"`{row['text']}`", row["resource"], row["sentence"]] for row in TYPES]),
        "## Reasons of conditions\n",
        "A `ready` that is false, and `row`, have the code of the error for a reason (docs/errors.md). All others:\n",
        table(["reason", "of", "what it means"], [[f"`{row['text']}`", words(row["types"]), row["sentence"]] for row in REASONS]),
    ])


MADE = {"openapi.yaml": openapi, "docs/errors.md": errors_md, "docs/events.md": events_md}


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, make in MADE.items():
        path = ROOT / name
        text = path.read_text() if path.exists() else ""
        made = make(text)
        if made != text:
            stale.append(name)
            if not check:
                path.write_text(made)
    if check and stale:
        sys.exit(f"out of date, run deploy/tables.py: {', '.join(stale)}")
    print(f"{'checked' if check else 'written'}: {', '.join(MADE if check else stale or ['nothing new'])}")


if __name__ == "__main__":
    main()
