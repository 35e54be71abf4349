#!/usr/bin/env bash
# Removes Minewarden from a gateway; data and configuration stay unless --purge is given.
exec bash "$(dirname "$0")/install.sh" --uninstall "$@"
