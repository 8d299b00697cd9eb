#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl into the folder given as the first argument: one
# binary and a link for each name. Shows how far the compiler is, since the first build takes minutes.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")"
export CGO_ENABLED=0 GOFLAGS="${GOFLAGS:-} -trimpath"

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
IFS=. read -r major minor _ <<<"${version#v}"
# Without the stamp kubectl cannot compare itself with the server: its version would be an unexpanded git template.
stamp=
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  stamp+=" -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=$minor"
  stamp+=" -X $package.gitCommit=$version -X $package.gitTreeState=clean -X $package.buildDate=1970-01-01T00:00:00Z"
done

echo "Embedded control plane: Kubernetes $version (etcd, kube-apiserver, kube-controller-manager, kubectl)"
temporary=${GOTMPDIR:-${TMPDIR:-/tmp}}
cache=$(go env GOCACHE)
echo "  reading the module graph (downloads it the first time) ..."
total=$(go list -deps . | wc -l)
[ -t 1 ] && tty=1 || tty=0
go build -v -ldflags "-s -w$stamp" -o "$out/.controlplane.new" . 2>&1 | awk -v total="$total" -v tty="$tty" -v temporary="$temporary" -v cache="$cache" -v out="$out" '
  /^[a-z0-9.]+([\/].*)?$/ { n++; if (tty) printf "\r  compiling %d of at most %d packages", n, total; else if (n % 200 == 0) printf "  compiling %d of at most %d packages\n", n, total; fflush(); next }
  /no space left on device/ { full = 1 }
  { print }
  END {
    if (tty && n) print ""
    if (full) print "no space left: the build writes to " temporary " (TMPDIR), " cache " (GOCACHE) and " out "; set TMPDIR or GOCACHE to a folder with more space"
  }'
mv -f "$out/.controlplane.new" "$out/controlplane"
for name in etcd kube-apiserver kube-controller-manager kubectl; do
  ln -sf controlplane "$out/$name"
done
touch "$out/kubectl.stamp"
echo "  done: $out"
