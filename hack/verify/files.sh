#!/usr/bin/env bash
# Fails if Git tracks a file of over 1 MiB, or an executable that is no script: both are built files, added by mistake.
# Reads the index and not the folder, so that a link or a submodule is not followed. The argument is a folder of the repository.
set -euo pipefail
cd "$1"
limit=$((1024 * 1024))
failed=0

reject() {
  printf '%q: %s\n' "$1" "$2" >&2
  failed=1
}

while IFS= read -r -d '' entry; do
  IFS=' ' read -r mode object _ <<<"${entry%%$'\t'*}"
  path=${entry#*$'\t'}
  case $mode in 100644 | 100755) ;; *) continue ;; esac # links and submodules have no content of their own
  size=$(git cat-file -s "$object")
  if [ "$size" -gt "$limit" ]; then
    reject "$path" "has $size bytes, over the limit of $limit; run 'git rm --cached' and name it in .gitignore"
    continue
  fi
  # The first four bytes, in hexadecimal. head ends before git has written all of a longer file.
  start=$( (git cat-file blob "$object" || true) | head -c 4 | od -An -tx1 | tr -d ' \n')
  case $start in
    # ELF; Mach-O of 32 and 64 bits in both byte orders, and universal; Windows; WebAssembly; ar archives of compilers.
    7f454c46 | feedface | feedfacf | cefaedfe | cffaedfe | cafebabe | cafebabf | bebafeca | bfbafeca | 4d5a??0[01] | 0061736d | 213c6172)
      reject "$path" "is a compiled program; run 'git rm --cached' and name it in .gitignore" ;;
    2321*) ;; # a script: #!
    *)
      if [ "$mode" = 100755 ]; then
        reject "$path" "is executable and no script (it does not begin with #!); run 'git update-index --chmod=-x'"
      fi ;;
  esac
done < <(git ls-files -z --stage)
exit "$failed"
