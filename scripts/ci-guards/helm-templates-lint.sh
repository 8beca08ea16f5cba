#!/usr/bin/env bash
# The six combinations of the Helm chart, each with the objects that it must render, and every other check of the chart.
# The checks are `cargo xtask helm`; a tool that is missing is a failure that names the command which installs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec cargo xtask helm "$@"
