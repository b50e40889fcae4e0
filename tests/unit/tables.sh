#!/bin/bash
# Are openapi.yaml, docs/errors.md and docs/events.md what the tables in core/ say?
exec /usr/bin/python3 "$(dirname "$0")/../../deploy/tables.py" --check
