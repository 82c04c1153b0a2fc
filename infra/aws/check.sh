#!/usr/bin/env bash
# Checks the CloudFormation templates with cfn-lint: the version below, in a virtual environment made for it.
set -euo pipefail
cd "$(dirname "$0")"

version=1.58.0
directory="$(mktemp -d)"
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check "cfn-lint==$version"
"$directory/bin/cfn-lint" --version
# Warnings fail too.
"$directory/bin/cfn-lint" -- *.yaml
