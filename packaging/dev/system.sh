#!/usr/bin/env bash
# Installs the system packages that the tests use, where they are missing and we may; otherwise says so.
set -u
declare -A command_of=([mosquitto]=mosquitto [postgresql]=initdb [chromium]=chromium [snmpd]=snmpd [strace]=strace)
missing=()
for package in mosquitto postgresql chromium snmpd strace; do
  command=${command_of[$package]}
  if ! PATH="$PATH:/usr/sbin:/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' ':')" command -v "$command" >/dev/null; then
    missing+=("$package")
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  echo "== installing system packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  # A service started by its package would hold a well-known port; the tests start their own.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null && exit 0
fi
echo "== not installed: ${missing[*]} (tests that need them are skipped and say so;"
echo "   install them with: apt-get install ${missing[*]})"
exit 0
