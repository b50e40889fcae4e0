"""openapi.yaml as the oracle of the tests: every reply that any test sees is checked against it."""

import json
import re
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parents[2]
REPLAYED = "Idempotency-Replayed"
PLAN = {"$ref": "#/components/schemas/Plan"}  # only in answers to dry runs
METHODS = ("get", "put", "post", "patch", "delete", "head", "options")


class SpecError(AssertionError):
    """A reply that the description does not allow."""


def _date_time(value):
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value):
        return False
    datetime.fromisoformat(value.replace("Z", "+00:00"))
    return True


def error_statuses():
    """code -> HTTP status, from the daemon's own table: a reply must not carry one with another."""
    table = (ROOT / "core" / "error.def").read_text()
    return {code: int(status) for code, status in re.findall(r"^X\((\w+), (\d+),", table, re.M)}


class Operation:
    def __init__(self, spec, method, path, item):
        self.id = item["operationId"]
        self.method = method.upper()
        self.path = path
        self.responses = {status: spec.resolve(body) for status, body in item["responses"].items()}
        parts = [r"[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/")]
        self.pattern = re.compile("/".join(parts) + "$")


class Spec:
    def __init__(self):
        self.document = yaml.safe_load((ROOT / "openapi.yaml").read_text())
        self.statuses = error_statuses()
        self.resolver = jsonschema.RefResolver("", self.document)
        self.formats = jsonschema.FormatChecker(formats=())
        self.formats.checkers = {"date-time": (_date_time, ValueError)}
        self.operations = [
            Operation(self, method, path, item[method])
            for path, item in self.document["paths"].items()
            for method in METHODS
            if method in item
        ]
        self.check_presence()
        self.seen = {}  # operation id -> statuses that tests produced
        self.validators = {}

    def resolve(self, node):
        while "$ref" in node:
            node = self.resolver.resolve(node["$ref"])[1]
        return node

    def check_presence(self):
        """A property that a resource can have is always there, null when it has no value; so all are required."""
        seen, optional = set(), []

        def walk(schema, where):
            if not isinstance(schema, dict):
                return
            schema = self.resolve(schema)
            if id(schema) in seen:
                return
            seen.add(id(schema))
            properties = schema.get("properties", {})
            optional.extend(f"{where}/{name}" for name, value in properties.items() if name not in schema.get("required", ()) and value != PLAN)
            inner = [(name, value) for name, value in properties.items()]
            inner += [(word, schema.get(word)) for word in ("items", "additionalProperties")]
            inner += [(word, value) for word in ("oneOf", "anyOf", "allOf") for value in schema.get(word, ())]
            for name, value in inner:
                walk(value, f"{where}/{name}")

        for operation in self.operations:
            for status, response in operation.responses.items():
                for content in response.get("content", {}).values():
                    walk(content.get("schema"), f"{operation.id} {status}")
        if optional:
            raise SpecError(f"properties of replies that are not required: {optional}")

    def find(self, method, target):
        path = unquote(target.split("?", 1)[0])
        method = "GET" if method == "HEAD" else method
        for operation in self.operations:
            if operation.method == method and operation.pattern.match(path):
                return operation
        return None

    def validate(self, schema, value, what):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            self.validators[key] = jsonschema.Draft202012Validator(
                schema, resolver=self.resolver, format_checker=self.formats
            )
        faults = [f"{'/'.join(map(str, e.absolute_path))}: {e.message}" for e in self.validators[key].iter_errors(value)]
        if faults:
            raise SpecError(f"{what} does not fit its schema: " + "; ".join(faults[:5]))

    def check(self, method, target, status, headers, body):
        """`body` is None for a stream whose end was not seen."""
        what = f"{method} {target[:120]} -> {status}"
        operation = self.find(method, target)
        if operation is None:
            response = self.resolve({"$ref": "#/components/responses/Problem"})
            if status < 400:
                raise SpecError(f"{what}: success for something that the description does not have")
        else:
            self.seen.setdefault(operation.id, set()).add(str(status))
            response = operation.responses.get(str(status))
            if response is None:
                if status < 400:
                    raise SpecError(f"{what}: the status is not declared")
                response = operation.responses["default"]
        is_dry = re.search(r"[?&]dry_run=true(&|$)", target) is not None
        self._check_headers(what, response, headers, body is None, is_dry)
        self._check_body(what, method, response, headers, body)
        if body and method != "GET" and headers.get("Content-Type", "").startswith("application/json") and is_dry != ("plan" in json.loads(body)):
            raise SpecError(f"{what}: a plan belongs into the answer to a dry run, and nowhere else")
        if status >= 400 and body is not None and method != "HEAD":
            self._check_problem(what, status, headers, json.loads(body))

    def _check_headers(self, what, response, headers, is_stream, is_dry):
        for name, header in response.get("headers", {}).items():
            value = headers.get(name)
            if value is None and name == REPLAYED:
                continue
            if value is None and is_stream and name == "X-Console-End":
                continue
            if value is None and is_dry and name in ("ETag", "Location"):
                continue  # of what there is not yet
            if value is None:
                raise SpecError(f"{what}: header {name} is missing")
            schema = self.resolve(header)["schema"]
            if schema.get("type") == "integer" and not re.fullmatch(r"-?\d+", value):
                raise SpecError(f"{what}: header {name} is no integer: {value!r}")

    def _check_body(self, what, method, response, headers, body):
        content = response.get("content")
        if content is None:
            if body:
                raise SpecError(f"{what}: a body where none is declared: {body[:200]!r}")
            return
        media_type = (headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if media_type not in content:
            raise SpecError(f"{what}: content type {media_type!r}, declared are {sorted(content)}")
        if body is None or method == "HEAD":
            return
        if media_type.endswith("json"):
            try:
                value = json.loads(body)
            except ValueError as e:
                raise SpecError(f"{what}: the body is not JSON ({e}): {body[:200]!r}") from None
            self.validate(content[media_type]["schema"], value, what)

    def _check_problem(self, what, status, headers, problem):
        if problem["status"] != status:
            raise SpecError(f"{what}: the body says status {problem['status']}")
        expected = self.statuses.get(problem["code"])
        if expected is None:
            raise SpecError(f"{what}: the code {problem['code']} is not in core/error.def")
        if problem["resource"] is not None:  # a write that was waited for, and ended in failure
            expected = expected if expected >= 500 else 409
        if expected != status:
            raise SpecError(f"{what}: the code {problem['code']} belongs to status {expected}")
        if not problem["detail"]:
            raise SpecError(f"{what}: an empty detail")

    def unused_operations(self, seen):
        return [op for op in self.operations if op.id not in seen]

    def unseen_statuses(self, seen):
        for op in self.operations:
            missing = sorted(s for s in op.responses if s != "default" and s not in seen.get(op.id, ()))
            if missing and op.id in seen:
                yield op, missing


SPEC = Spec()
