#!/usr/bin/env bash
# Writes the scripts for Argo CD that follow from two: the health check of DGbotAPIKey, and its action rotate. Argo CD lets no script use another,
# so that each kind and each action needs the whole text.
set -euo pipefail
cd "$(dirname "$0")/../../config/integrations/argocd/keys.dgbot.io"

sed -e 's/rotate-requested-at/revoke-issued-before/' -e 's/kubectl dgbot rotate/kubectl dgbot compromise/' \
	DGbotAPIKey/actions/rotate/action.lua >DGbotAPIKey/actions/compromise/action.lua
for action in rotate compromise; do
	cp DGbotAPIKey/actions/$action/action.lua DGbotChatbot/actions/$action/action.lua
done
for kind in DGbotChatbot DGbotEnvironment; do
	cp DGbotAPIKey/health.lua $kind/health.lua
done
