"""Writes the types of all events and messages that are registered in a database, as Python.

Usage: python3 -m ecommerce_client.types [conninfo] > contracts.py
Without one the PG* variables say where.
"""
from __future__ import annotations

import keyword
import re
import sys
from typing import Any, Mapping

import psycopg

Schema = Mapping[str, Any]
SCALARS = {"integer": "int", "number": "float", "string": "str", "boolean": "bool",
           "null": "None"}
HEAD = '''"""Written by ecommerce_client.types from event_store.asyncapi(): do not edit."""
from typing import Any, Literal, NotRequired, TypedDict
'''


def to_python(document: Schema) -> str:
    """The document of event_store.asyncapi() as classes; CONTRACTS has the current version of
    each type by its name.
    """
    components = document["components"]
    parts = [HEAD]
    for key, schema in sorted(components.get("schemas", {}).items()):
        if key != "envelope":
            parts.append(_declaration(key, schema))
    current = sorted((m["name"], m["payload"]) for m in components.get("messages", {}).values()
                     if m.get("x-current"))
    lines = "".join(f"    {name!r}: {_of(payload)[1:-1]},\n" for name, payload in current)
    parts.append(f"CONTRACTS = {{\n{lines}}}\n")
    return "\n\n".join(parts)


def type_name(key: str) -> str:
    """shop.order_created is ShopOrderCreated."""
    name = "".join(part[:1].upper() + part[1:] for part in re.split(r"\W+|_+", key))
    return name if name.isidentifier() else f"T{name}"


def _declaration(key: str, schema: Schema) -> str:
    name, fields = type_name(key), schema.get("properties")
    if not fields:
        return f"{name} = {_of(schema)}\n" if "type" not in schema or schema["type"] != "object" \
            else f"class {name}(TypedDict):\n    pass\n"
    required = schema.get("required", [])
    typed = {field: _of(of) if field in required else f"NotRequired[{_of(of)}]"
             for field, of in fields.items()}
    if all(field.isidentifier() and not keyword.iskeyword(field) for field in typed):
        text = schema.get("description")
        lines = ["    " + repr(text) + "\n"] if text else []
        lines += [f"    {field}: {of}\n" for field, of in typed.items()]
        return f"class {name}(TypedDict):\n{''.join(lines)}"
    pairs = ", ".join(f"{field!r}: {of}" for field, of in typed.items())
    return f"{name} = TypedDict({name!r}, {{{pairs}}})\n"


def _of(schema: Schema) -> str:
    if "$ref" in schema:
        return repr(type_name(schema["$ref"].rsplit("/", 1)[-1].replace("~1", "/")))
    if "allOf" in schema:
        return _of(schema["allOf"][0])
    if "oneOf" in schema:
        return _union(_of(part) for part in schema["oneOf"])
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "type" not in schema:
        return "Any"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return _union(_scalar(one, schema) for one in types)


def _scalar(name: str, schema: Schema) -> str:
    if name == "array":
        return f"list[{_of(schema.get('items', {}))}]"
    return "dict[str, Any]" if name == "object" else SCALARS[name]


def _union(parts: Any) -> str:
    found = list(dict.fromkeys(parts))
    # A name that comes later is text, and text has no |.
    if len(found) > 1 and any(part.startswith(("'", '"')) for part in found):
        return repr(" | ".join(part.strip("'\"") for part in found))
    return " | ".join(found)


def main() -> int:
    if len(sys.argv) > 2 or sys.argv[1:] and sys.argv[1].startswith("-"):
        print("usage: python3 -m ecommerce_client.types [conninfo] > contracts.py",
              file=sys.stderr)
        return 2
    try:
        with psycopg.connect(*sys.argv[1:]) as connection:
            [document] = connection.execute("SELECT event_store.asyncapi()").fetchone() or [None]
    except psycopg.Error as error:
        print(f"ecommerce_client.types: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(to_python(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
