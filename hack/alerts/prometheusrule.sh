#!/usr/bin/env bash
# Prints config/prometheus/alerts.yaml as the PrometheusRule that the prometheus-operator reads.
set -euo pipefail
cat <<'END'
# Generated from alerts.yaml by 'make generate'.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: dgbot-manager
  namespace: dgbot-system
spec:
END
sed '/^#/d; s/^./  &/' "$(dirname "$0")/../../config/prometheus/alerts.yaml"
