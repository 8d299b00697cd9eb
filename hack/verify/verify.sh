#!/usr/bin/env bash
# Fails if Git tracks a built file, if a generated file is not what the sources generate, if a Go file is not formatted, if a
# go.mod is not tidy, or if vet or the linter object. Generates in a copy: the tree is as it was afterwards, whatever comes out.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The copies, and what compiles in them, take about as much.
needed=1024
temporary=${TMPDIR:-/tmp}
available=$(df -Pk "$temporary" | awk 'NR == 2 { print int($4 / 1024) }')
if [ "$available" -lt "$needed" ]; then
  echo "verify: $temporary (TMPDIR) has $available MiB free and $needed MiB are needed: set TMPDIR to a folder with more space" >&2
  exit 1
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=0

echo "verify: tracked files"
hack/verify/files.sh . || failed=1

echo "verify: generated files"
git ls-files -z -co --exclude-standard | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null -T - -cf - | tar -xf - -C "$copy"
cp -r "$copy" "$copy.before"
trap 'rm -rf "$copy" "$copy.before"' EXIT
(cd "$copy" && make -s generate >/dev/null)
if ! diff -ru "$copy.before" "$copy"; then
  echo "generated files are not up to date: run 'make generate' and commit what changes" >&2
  failed=1
fi

echo "verify: formatting"
unformatted=$(git ls-files -z -co --exclude-standard '*.go' | xargs -0 gofmt -l)
if [ -n "$unformatted" ]; then
  printf 'not formatted (run "make fmt"):\n%s\n' "$unformatted" >&2
  failed=1
fi

echo "verify: modules"
for module in . hack/controlplane hack/release hack/tools; do
  if ! (cd "$module" && go mod tidy -diff); then
    echo "$module/go.mod is not tidy: run 'go mod tidy' there" >&2
    failed=1
  fi
done

echo "verify: vet"
go vet ./... || failed=1
for module in hack/controlplane hack/release; do
  (cd "$module" && go vet ./...) || failed=1
done

echo "verify: lint"
make -s lint || failed=1

[ "$failed" = 0 ] && echo "verify: all clean"
exit "$failed"
