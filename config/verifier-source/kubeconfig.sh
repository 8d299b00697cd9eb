#!/bin/sh
# Prints a kubeconfig with which a verifier of another cluster reads this cluster's records: of the cluster that kubectl talks to now, for the
# account of this folder. Everything is embedded: verifiers accept no kubeconfig that names files or commands.
#
#   (umask 077 && ./kubeconfig.sh > new && mv new staging-eu.kubeconfig)
#
# NAMESPACE is that of the account (default dgbot-system; the chart installs it into that of the release). DURATION is how long the token is valid (default 720h; an API server may shorten it). Before it ends, run this again and replace the file: the
# verifier reads it again, without a restart. SERVER is the address of the API server as the verifier reaches it (default: as kubectl does).
set -eu
cluster() { kubectl config view --minify --flatten --raw -o "jsonpath={.clusters[0].cluster.$1}"; }
server=${SERVER:-$(cluster server)}
authority=$(cluster certificate-authority-data)
token=$(kubectl create token dgbot-verifier-source "--namespace=${NAMESPACE:-dgbot-system}" --duration="${DURATION:-720h}")
cat <<EOF
apiVersion: v1
kind: Config
current-context: source
contexts:
- name: source
  context: {cluster: source, user: dgbot-verifier-source}
clusters:
- name: source
  cluster:
    server: $server
    certificate-authority-data: $authority
users:
- name: dgbot-verifier-source
  user:
    token: $token
EOF
