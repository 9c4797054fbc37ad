#!/bin/sh
# System packages that a bare Debian or Ubuntu image lacks: OpenCV's libraries, git for DVC, make, the browser
# of the page's tests, and Prometheus, whose promtool checks infra/monitoring. Run as root.
set -eu
apt-get update
apt-get install --yes --no-install-recommends git make libgl1 libglib2.0-0 libxcb1 chromium prometheus
