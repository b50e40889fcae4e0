#!/bin/bash
# Does openapi.yaml keep the rules that client generators need? tests/unit/openapi_rules.sh
exec /usr/bin/python3 "$(dirname "$0")/../sdk/rules.py"
