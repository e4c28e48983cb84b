#!/bin/bash
# Installs packages for the rehearsal, as root, without starting any service and without removing any package.
# `install.bash PACKAGE...` installs; `install.bash` alone only puts back what an interrupted run left.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
kept=$policy.kept-by-flowrun
mark='# made by the rehearsal of flowrun, for the time of one installation'

# Debian asks policy-rc.d before it starts a service; 101 forbids. What was there before comes back, whatever happens.
put_back() {
  if [ -e "$policy" ] && grep -qF "$mark" "$policy"; then rm "$policy"; fi
  if [ -e "$kept" ]; then mv "$kept" "$policy"; fi
}

forbid_services() {
  put_back
  if [ -e "$policy" ]; then mv "$policy" "$kept"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" > "$policy.new"
  chmod 755 "$policy.new"
  mv "$policy.new" "$policy"
}

if [ "$#" = 0 ]; then
  put_back
  exit
fi

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -o DPkg::Lock::Timeout=300)
simulate() { "${apt[@]}" --simulate --no-install-recommends install "$@" 2>&1; }

if ! plan=$(simulate "$@"); then
  "${apt[@]}" update
  plan=$(simulate "$@") || { printf '%s\n' "$plan" >&2; exit 1; }
fi
if removed=$(grep '^Remv ' <<< "$plan"); then
  printf 'the installation would remove packages, so nothing was installed:\n%s\n' "$removed" >&2
  exit 1
fi

trap put_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
forbid_services
"${apt[@]}" --yes --no-install-recommends --no-remove install "$@"
