#!/usr/bin/env bash
# Prints the queries of the Grafana dashboard as recording rules, so that promtool can check their syntax. The dashboard's variables become
# values that Grafana could put there.
set -euo pipefail
cd "$(dirname "$0")/../.."
echo "groups:"
echo "- name: dashboard"
echo "  rules:"
number=0
while IFS= read -r query; do
  number=$((number + 1))
  printf '  - record: dashboard:query:%d\n    expr: "%s"\n' "$number" "$query"
done < <(sed -n 's/^ *"expr": "\(.*\)",$/\1/p' config/integrations/grafana/dgbot-keys.json | sed 's/\$__rate_interval/5m/g; s/\$[a-z]\+/.*/g')
if [ "$number" = 0 ]; then
  echo "no query found in config/integrations/grafana/dgbot-keys.json" >&2
  exit 1
fi
