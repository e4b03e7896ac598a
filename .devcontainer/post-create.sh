#!/usr/bin/env bash
# Makes the development container ready: the locked packages, and a browser for the test of the report.
set -euo pipefail
cd "$(dirname "$0")/.."
sudo apt-get update --quiet
sudo apt-get install --quiet --yes --no-install-recommends chromium
scripts/bootstrap
