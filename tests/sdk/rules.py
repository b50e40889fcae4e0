"""
The rules of openapi.yaml that keep client generators working (docs/clients.md). Each is a function that yields what breaks it;
a generator's fault is seen here in a second, in tests/sdk it takes minutes. As a program: checks the document, and that each rule sees what it is for.
"""

import copy
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("get", "put", "post", "patch", "delete", "options")
VERBS = {"get", "list", "create", "put", "patch", "delete", "start", "stop", "kill", "pause", "resume", "reboot", "stream", "write", "confirm", "trace", "repair"}
# Words that a language keeps for itself, or that its generator gives away: a type of that name gets another one there.
RESERVED = {"Interface", "Class", "Object", "String", "Map", "List", "Set", "Error", "Type", "Function", "Package", "Import", "Enum", "File", "Configuration", "Response", "ApiClient", "Client"}
ANNOTATIONS = {"$ref", "description", "default", "x-checked-by-handler"}


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method], item.get("parameters", [])


def resolve(document, node):
    while "$ref" in node:
        found = document
        for part in node["$ref"].split("/")[1:]:
            found = found[part]
        node = found
    return node


def below(schema):
    """The schemas that stand inside of one, with the way there."""
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield key, schema[key]
    for name, inner in schema.get("properties", {}).items():
        yield name, inner
    for key in ("oneOf", "anyOf", "allOf"):
        for index, inner in enumerate(schema.get(key, [])):
            yield f"{key}/{index}", inner


def inside(where, schema):
    for step, inner in below(schema):
        yield f"{where}/{step}", inner
        yield from inside(f"{where}/{step}", inner)


def contents(document):
    """The schemas of bodies, replies and parameters, where they are used."""
    for what, operation, inherited in operations(document):
        replies = [resolve(document, r) for r in operation["responses"].values()]
        for media in [operation.get("requestBody", {})] + replies:
            for media_type, content in media.get("content", {}).items():
                yield f"{what} {media_type}", content["schema"]
        for parameter in [resolve(document, p) for p in inherited + operation.get("parameters", [])]:
            yield f"{what} parameter {parameter['name']}", parameter["schema"]


def schemas(document):
    """All of them but the named ones themselves."""
    for name, schema in document["components"]["schemas"].items():
        yield from inside(name, schema)
    for where, schema in contents(document):
        yield where, schema
        yield from inside(where, schema)


def everything(document):
    yield from document["components"]["schemas"].items()
    yield from schemas(document)


def types_of(schema):
    given = schema.get("type", [])
    return set(given) if isinstance(given, list) else {given}


def one_tag(document):
    known = {tag["name"] for tag in document["tags"]}
    for what, operation, _ in operations(document):
        tags = operation.get("tags", [])
        if len(tags) != 1 or tags[0] not in known:
            yield f"{what} has the tags {tags}; it must be one of {sorted(known)}"


def verb_and_noun(document):
    for what, operation, _ in operations(document):
        words = re.findall("^[a-z]+|[A-Z][a-z0-9]*", operation["operationId"])
        if "".join(words) != operation["operationId"] or len(words) < 2 or words[0] not in VERBS:
            yield f"{what} is called {operation['operationId']}: a verb that is known and a noun, like listVms"


def says_what_it_does(document):
    for what, operation, _ in operations(document):
        if not operation.get("summary") or not operation.get("description"):
            yield f"{what} needs a summary and a description"
        if not {"400", "default"} <= set(operation["responses"]):
            yield f"{what} must declare 400 (a query parameter that it does not have) and default"


def unions_are_named(document):
    for where, schema in everything(document):
        if len(types_of(schema) - {"null"}) > 1:
            yield f"{where} has the types {schema['type']}: write oneOf of named schemas"
        if "anyOf" in schema or "allOf" in schema:
            yield f"{where} has anyOf or allOf: write oneOf"
        for inner in schema.get("oneOf", []):
            if "$ref" not in inner and inner != {"type": "null"}:
                yield f"{where} has a oneOf of something that is neither a name nor null"


def objects_are_named(document):
    for where, schema in schemas(document):
        if "object" in types_of(schema) or "properties" in schema:
            yield f"{where} is an object without a name of its own"


def enums_are_named(document):
    for where, schema in schemas(document):
        if "enum" in schema:
            yield f"{where} is an enum without a name of its own"


def enums_are_texts(document):
    for where, schema in everything(document):
        if "enum" in schema and (types_of(schema) != {"string"} or not all(isinstance(value, str) for value in schema["enum"])):
            yield f"{where} is an enum of something else than strings"
        if "const" in schema:
            yield f"{where} has a const: write an enum of one, or minimum and maximum"


def enum_constants_are_unique(document):
    """Go's constants share one scope: a value that is there twice needs x-enum-varnames."""
    seen = {}
    for name, schema in document["components"]["schemas"].items():
        names = schema.get("x-enum-varnames", schema.get("enum", []))
        if len(names) != len(schema.get("enum", [])):
            yield f"{name} has other x-enum-varnames than values"
        for constant in names:
            other = seen.setdefault(re.sub("[^a-z0-9]", "", constant.lower()), name)
            if other != name:
                yield f"{name} and {other} both have {constant}: give one of them x-enum-varnames, like {name}{constant.capitalize()}"


def names_are_short_nouns(document):
    for name, schema in document["components"]["schemas"].items():
        if not re.fullmatch("([A-Z][a-z0-9]*){1,3}", name) or len(name) > 24:
            yield f"{name} is no name of one to three words like VmCreate"
        if name in RESERVED:
            yield f"{name} is a reserved word somewhere"
        if "title" in schema:
            yield f"{name} has a title, which some generators take for its name"


def all_have_a_type(document):
    for where, schema in everything(document):
        if "$ref" in schema:
            if set(schema) - ANNOTATIONS:
                yield f"{where} has {sorted(set(schema) - ANNOTATIONS)} beside $ref"
        elif "type" not in schema and "oneOf" not in schema:
            yield f"{where} has no type"


def lists_and_maps_are_typed(document):
    for where, schema in everything(document):
        if "array" in types_of(schema) and "items" not in schema:
            yield f"{where} is an array of anything"
        if "object" in types_of(schema) and "additionalProperties" not in schema:
            yield f"{where} doesn't say what other members it may have"


def defaults_are_scalars(document):
    for where, schema in everything(document):
        if isinstance(schema.get("default"), (dict, list)):
            yield f"{where} has a default that is an object or a list"


def integers_say_their_size(document):
    for where, schema in everything(document):
        if "integer" in types_of(schema) and schema.get("format") != "int64" and not schema.get("maximum", 2**31) < 2**31:
            yield f"{where} needs format: int64, or a maximum that fits 32 bits"


def patches_have_no_defaults(document):
    """A client sends them, and so changes what it did not mean to. In lists, which are replaced as a whole, they may be."""

    def defaults(where, schema, seen):
        if "default" in schema:
            yield f"{where} has a default, in what PATCH sends"
        if "$ref" in schema and schema["$ref"] not in seen:
            yield from defaults(where, resolve(document, schema), seen | {schema["$ref"]})
        for step, inner in below(schema):
            if step != "items":
                yield from defaults(f"{where}/{step}", inner, seen)

    for what, operation, _ in operations(document):
        for content in operation.get("requestBody", {}).get("content", {}).values() if what.startswith("PATCH") else []:
            yield from defaults(what, content["schema"], set())


def bodies_can_be_sent(document):
    """openapi-python-client leaves out an operation with a body of other types."""
    for what, operation, _ in operations(document):
        types = set(operation.get("requestBody", {}).get("content", {}))
        if types and not types & {"application/json", "application/octet-stream"}:
            yield f"{what} takes none of application/json, application/octet-stream"


def refs(node):
    """What a part of the document names, extensions too."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    for inner in node if isinstance(node, list) else []:
        yield from refs(inner)


def components_are_used(document):
    used = set(refs(document))
    for kind, components in document["components"].items():
        for name in components if not kind.startswith("x-") else []:
            if f"#/components/{kind}/{name}" not in used:
                yield f"{name} of {kind} is never used"


def sentences_are_as_many(document):
    for where, schema in everything(document):
        if "x-enum-descriptions" in schema and len(schema["x-enum-descriptions"]) != len(schema["enum"]):
            yield f"{where} has other x-enum-descriptions than values"


RULES = [one_tag, verb_and_noun, says_what_it_does, unions_are_named, objects_are_named, enums_are_named, enums_are_texts, enum_constants_are_unique,
         names_are_short_nouns, all_have_a_type, lists_and_maps_are_typed, defaults_are_scalars, integers_say_their_size, patches_have_no_defaults, bodies_can_be_sent, components_are_used,
         sentences_are_as_many]


def change(document, path, value):
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


VM = ("components", "schemas", "Vm", "properties", "boot_args")
NEW = ("components", "schemas", "New")
# A rule and a change of the document that it must see.
SEEN = [
    (one_tag, ("paths", "/vms", "get", "tags"), ["vms", "network"]),
    (one_tag, ("paths", "/vms", "get", "tags"), ["elsewhere"]),
    (verb_and_noun, ("paths", "/vms", "get", "operationId"), "vms"),
    (verb_and_noun, ("paths", "/vms", "get", "operationId"), "doVms"),
    (says_what_it_does, ("paths", "/vms", "get", "description"), ""),
    (says_what_it_does, ("paths", "/vms", "get", "responses"), {"default": {"$ref": "#/components/responses/Problem"}}),
    (unions_are_named, VM, {"type": ["integer", "string"]}),
    (unions_are_named, VM, {"anyOf": [{"$ref": "#/components/schemas/VmId"}, {"type": "null"}]}),
    (unions_are_named, VM, {"oneOf": [{"type": "string"}, {"type": "null"}]}),
    (objects_are_named, VM, {"type": ["object", "null"]}),
    (objects_are_named, ("paths", "/vms", "post", "requestBody", "content", "application/json", "schema"), {"type": "object"}),
    (enums_are_named, VM, {"type": "string", "enum": ["a"]}),
    (enums_are_texts, NEW, {"type": "string", "enum": ["a", None]}),
    (enums_are_texts, VM, {"const": 1}),
    (enum_constants_are_unique, NEW, {"type": "string", "enum": ["running"]}),
    (enum_constants_are_unique, NEW, {"type": "string", "enum": ["a", "b"], "x-enum-varnames": ["a"]}),
    (components_are_used, NEW, {"type": "string"}),
    (components_are_used, ("paths", "/events", "get", "responses", "200", "content", "text/event-stream"), {"schema": {"type": "string"}}),
    (sentences_are_as_many, ("components", "schemas", "EventType", "x-enum-descriptions"), ["one"]),
    (names_are_short_nouns, ("components", "schemas", "Interface"), {"type": "string"}),
    (names_are_short_nouns, ("components", "schemas", "vm_interface"), {"type": "string"}),
    (names_are_short_nouns, NEW, {"type": "string", "title": "A new one"}),
    (all_have_a_type, VM, {"maxLength": 1}),
    (all_have_a_type, VM, {"$ref": "#/components/schemas/VmId", "maxLength": 1}),
    (lists_and_maps_are_typed, VM, {"type": "array"}),
    (lists_and_maps_are_typed, NEW, {"type": "object"}),
    (defaults_are_scalars, NEW, {"type": "object", "default": {}}),
    (integers_say_their_size, VM, {"type": ["integer", "null"], "maximum": 2**32}),
    (patches_have_no_defaults, ("components", "schemas", "MachineConfigPatch", "properties", "vcpu_count", "default"), 1),
    (bodies_can_be_sent, ("paths", "/vms/{id}/console", "post", "requestBody", "content"), {"text/plain": {"schema": {"type": "string"}}}),
]


def main():
    document = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    passed = failed = 0
    for rule in RULES:
        faults = list(rule(document))
        for fault in faults:
            print(f"{rule.__name__}: {fault}")
        failed, passed = failed + bool(faults), passed + (not faults)
    for rule, path, value in SEEN:
        changed = copy.deepcopy(document)
        change(changed, path, value)
        if list(rule(changed)) == list(rule(document)):
            print(f"{rule.__name__} does not see {'/'.join(path)} = {value}")
            failed += 1
        else:
            passed += 1
    unseen = [rule.__name__ for rule in RULES if rule not in [row[0] for row in SEEN]]
    if unseen:
        print(f"without a row in SEEN: {unseen}")
        failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
