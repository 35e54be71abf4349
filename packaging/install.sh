#!/usr/bin/env bash
# Installs or upgrades Minewarden on a site's gateway (Debian 12), rolls back, or uninstalls.
#
#   install.sh WHEEL            install, or upgrade when it is there; keeps store, latches, configuration
#   install.sh --rollback       go back to the version before
#   install.sh --uninstall      remove programs and units; data stay (--purge removes them too)
#
# Options: --root DIR (install below DIR, for images and tests; starts nothing)
#          --python PATH (default python3, 3.11 or newer)   --wheels DIR (take packages from DIR only)
set -euo pipefail

root=/ python=python3 wheels= action=install wheel= purge=no
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
fail() { echo "install.sh: $*" >&2; exit 1; }
say() { echo "install.sh: $*"; }

while [ $# -gt 0 ]; do
  case $1 in
    --root) root=${2:?}; shift 2 ;;
    --python) python=${2:?}; shift 2 ;;
    --wheels) wheels=$(cd "${2:?}" && pwd); shift 2 ;;
    --rollback) action=rollback; shift ;;
    --uninstall) action=uninstall; shift ;;
    --purge) purge=yes; shift ;;
    -h | --help) usage ;;
    -*) echo "install.sh: unknown option $1" >&2; usage ;;
    *) wheel=$1; shift ;;
  esac
done
[ "$(id -u)" -eq 0 ] || fail "must run as root (it makes users and system units)"
root=${root%/}
here=$(cd "$(dirname "$0")" && pwd)
opt=$root/opt/minewarden
etc=$root/etc/minewarden
state=$root/var/lib/minewarden
units=$root/etc/systemd/system
services="minewarden-guardian.service minewarden-agent.service"

on_live_system() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
systemctl_live() { if on_live_system; then systemctl "$@"; fi; }

make_users() {
  for group in minewarden minewarden-operator; do
    chrooted getent group "$group" >/dev/null || chrooted groupadd --system "$group"
  done
  for user in minewarden-guardian minewarden-agent; do
    chrooted getent passwd "$user" >/dev/null || chrooted useradd --system --gid minewarden \
      --home-dir /var/lib/minewarden --no-create-home --shell /usr/sbin/nologin "$user"
  done
}
# Users belong to the tree that is installed into, not to the machine that installs.
chrooted() { if [ -n "$root" ]; then chroot "$root" "$@"; else "$@"; fi; }

make_folders() {
  install -d -m 0755 "$opt" "$state"
  install -d -m 0750 "$etc"
  chrooted chown root:minewarden /etc/minewarden
  install -d -m 0700 "$state/guardian"
  install -d -m 0750 "$state/agent"
  chrooted chown minewarden-guardian:minewarden /var/lib/minewarden/guardian
  chrooted chown minewarden-agent:minewarden /var/lib/minewarden/agent
  if [ ! -e "$etc/credentials.key" ]; then
    (umask 077 && head -c 32 /dev/urandom >"$etc/credentials.key")
  fi
  # `minewarden guardian credential set` runs as the guardian's user, so that the store is its own.
  chrooted chown minewarden-guardian /etc/minewarden/credentials.key
  if [ ! -e "$etc/broker" ]; then
    install -d -m 0700 "$etc/broker"
  fi
}

install_version() {
  [ -n "$wheel" ] || usage
  [ -f "$wheel" ] || fail "$wheel: no such file"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11"
  local version target pip
  version=$(basename "$wheel" | cut -d- -f2)
  # The content is part of the name, so a rebuilt wheel of the same version is another installation.
  version=$version-$(sha256sum "$wheel" | cut -c1-8)
  target=$opt/$version
  make_users
  make_folders
  if [ ! -e "$target/.complete" ]; then
    rm -rf "$target"
    install -d -m 0755 "$target/share"
    say "installing $version into ${target#"$root"}"
    "$python" -m venv "$target/venv"
    pip=("$target/venv/bin/python" -m pip install --quiet --disable-pip-version-check)
    if [ -n "$wheels" ]; then pip+=(--no-index --find-links "$wheels"); fi
    if [ -f "$here/../constraints.txt" ]; then pip+=(--constraint "$here/../constraints.txt"); fi
    "${pip[@]}" "$wheel[edge]"
    # Scripts and shebangs must name the path that the running system sees.
    if [ -n "$root" ]; then
      grep -rlIZ -- "$target" "$target/venv/bin" "$target/venv/pyvenv.cfg" 2>/dev/null |
        xargs -0 -r sed -i "s|$root/opt/minewarden|/opt/minewarden|g"
    fi
    cp -r "$here/systemd" "$target/share/"
    if [ -f "$here/../docs/safety.md" ]; then cp "$here/../docs/safety.md" "$target/share/"; fi
    touch "$target/.complete"
  fi
  switch_to "$version"
  if [ ! -e "$etc/site.toml" ]; then
    say "next: write /etc/minewarden/site.toml and keyring.toml (docs/install.md), then"
    say "      minewarden check-config --site /etc/minewarden/site.toml"
    say "      systemctl enable --now $services"
  fi
}

switch_to() {
  local version=$1 old
  old=$(readlink "$opt/current" 2>/dev/null || true)
  [ "$old" = "$version" ] && { say "$version is already in use"; install_units; return; }
  check_site "$version"
  if [ -n "$old" ]; then
    ln -sfn "$old" "$opt/.previous.new" && mv -T "$opt/.previous.new" "$opt/previous"
  fi
  # A rename is atomic: a power cut leaves the old version or the new one, never none.
  ln -sfn "$version" "$opt/.current.new" && mv -T "$opt/.current.new" "$opt/current"
  sync -f "$opt"
  install_units
  say "in use: $version${old:+ (before: $old)}"
  restart_if_running
}

# A version that cannot read the site's own configuration must not replace one that can.
check_site() {
  if [ -e "$etc/site.toml" ]; then
    chrooted "/opt/minewarden/$1/venv/bin/python" -P -m shared.cli check-config --site /etc/minewarden/site.toml ||
      fail "$1 refuses this site's configuration (above); nothing was changed"
  fi
}

install_units() {
  install -d "$units" "$root/usr/local/bin"
  for unit in $services; do
    install -m 0644 "$opt/current/share/systemd/$unit" "$units/$unit"
  done
  ln -sfn /opt/minewarden/current/venv/bin/minewarden "$root/usr/local/bin/minewarden"
  systemctl_live daemon-reload
}

restart_if_running() {
  for unit in $services; do
    if on_live_system && systemctl is-active --quiet "$unit"; then systemctl restart "$unit"; fi
  done
}

case $action in
  install) install_version ;;
  rollback)
    old=$(readlink "$opt/previous" 2>/dev/null) || fail "there is no version to go back to"
    [ -e "$opt/$old/.complete" ] || fail "$old is not complete; nothing was changed"
    switch_to "$old"
    ;;
  uninstall)
    systemctl_live disable --now $services 2>/dev/null || true
    for unit in $services; do rm -f "$units/$unit"; done
    rm -rf "$opt" "$root/usr/local/bin/minewarden"
    systemctl_live daemon-reload
    if [ "$purge" = yes ]; then
      rm -rf "$state" "$etc"
      for user in minewarden-guardian minewarden-agent; do chrooted userdel "$user" 2>/dev/null || true; done
      for group in minewarden-operator minewarden; do chrooted groupdel "$group" 2>/dev/null || true; done
      say "programs, data, configuration and users are gone"
    else
      say "programs are gone; data stay in /var/lib/minewarden, configuration in /etc/minewarden"
    fi
    ;;
esac
