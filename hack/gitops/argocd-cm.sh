#!/usr/bin/env bash
# Prints the scripts in config/gitops/argocd as the part of the ConfigMap argocd-cm that has Argo CD use them.
set -euo pipefail
cd "$(dirname "$0")/../../config/gitops/argocd/keys.dgbot.io"
cat <<'END'
# Generated from the scripts in keys.dgbot.io by 'make generate'. It has nothing else in it, so that it can be applied to an Argo CD
# that is configured already:
#
#   kubectl apply --server-side --field-manager=dgbot-key-operator -n argocd -f argocd-cm.yaml
#
# or named among the patches of the kustomization that installs Argo CD.
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
data:
END
indented() { sed "s/^./$1&/" "$2"; }
for kind in DGbotAPIKey DGbotChatbot DGbotEnvironment; do
  echo "  resource.customizations.health.keys.dgbot.io_$kind: |"
  indented '    ' "$kind/health.lua"
done
for kind in DGbotAPIKey DGbotChatbot; do
  echo "  resource.customizations.actions.keys.dgbot.io_$kind: |"
  echo "    discovery.lua: |"
  indented '      ' "$kind/actions/discovery.lua"
  echo "    definitions:"
  for action in rotate compromise; do
    echo "    - name: $action"
    echo "      action.lua: |"
    indented '        ' "$kind/actions/$action/action.lua"
  done
done
