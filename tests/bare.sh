#!/usr/bin/env bash
# Do the README's two commands work on a system that has nothing? Makes a bare Debian 12 in a folder, clones HEAD into it, and runs
# `./run campaign` and `./run tests` inside. Continuous integration runs on used machines, which hide a missing install step; this does not.
#
#   tests/bare.sh [--only campaign|tests|setup] [--working-tree] [--keep]
#
# --working-tree takes the files as they are instead of HEAD; --keep leaves the system in place and prints where. Needs root, 8 GB of disk
# and the network; mirrors, proxies and certificates are this machine's. Exit: 0 all passed, 1 one failed, 2 could not be tried.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
commands=(campaign tests)
keep=no
tree='head'

refuse() {
  echo "bare.sh: $1" >&2
  exit 2
}

parse() {
  while (($#)); do
    case "$1" in
      --only)
        [[ ${2:-} =~ ^(campaign|tests|setup)$ ]] || refuse "--only campaign, tests or setup, not '${2:-}'"
        commands=("$2")
        shift
        ;;
      --working-tree) tree=working ;;
      --keep) keep=yes ;;
      *) refuse "unknown argument '$1'; there are --only, --working-tree, --keep" ;;
    esac
    shift
  done
}

# In a mount namespace of its own, whatever is mounted ends with the script, however it ends.
enter_namespace() {
  ((EUID == 0)) || refuse "needs root, for debootstrap and chroot"
  [[ ${HOLDFAST_BARE_INSIDE:-} == yes ]] || HOLDFAST_BARE_INSIDE=yes exec unshare --mount --propagation private "$0" "$@"
  command -v debootstrap >/dev/null || apt-get -qq install --yes debootstrap >&2 || refuse "debootstrap is missing and apt-get cannot install it"
}

clean_up() {
  local mounted
  # Deepest first; --one-file-system so that what could not be unmounted is not emptied.
  while read -r mounted; do umount "$mounted" || true; done < <(findmnt -rno TARGET | grep "^$system/" | sort -r)
  if [[ $keep == yes ]]; then echo "kept: $system" >&2; else rm -rf --one-file-system "$system"; fi
}

# The mirror that this machine installs Debian 12 from; debootstrap has a default for machines that use none.
mirror() {
  apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "bookworm" && $3 == "main" {print $1; exit}'
}

make_system() {
  local mirror
  mirror="$(mirror)"
  debootstrap --variant=minbase bookworm "$system" ${mirror:+"$mirror"} >"$system.log" 2>&1 ||
    { tail -n 20 "$system.log" >&2; refuse "debootstrap failed"; }
  rm -f "$system.log"
  mount -t proc proc "$system/proc"
  mount --rbind /dev "$system/dev"
  mount --make-rslave "$system/dev"
}

# This machine's way to the network: names, apt and pip settings, certificates. None of it is in the repository.
share_network() {
  local file
  for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    if [[ -e $file ]]; then cp --dereference "$file" "$system$file"; fi
  done
  apt-config dump | grep -E '^Acquire::(http|https|ftp|Check-|Retries)' >"$system/etc/apt/apt.conf.d/90machine" || true
  environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/var/tmp LANG=C.UTF-8 TERM=dumb)
  mapfile -t -O "${#environment[@]}" environment < <(env | grep -iE '^(https?_proxy|no_proxy|PIP_[A-Z_]+)=' | grep -vE '^PIP_(CERT|FIND_LINKS)=' || true)
  local certificates="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
  if [[ -e $certificates ]]; then
    # Under another name than the one that the package ca-certificates will overwrite.
    cp --dereference "$certificates" "$system/etc/machine-certificates.crt"
    environment+=(PIP_CERT=/etc/machine-certificates.crt SSL_CERT_FILE=/etc/machine-certificates.crt)
    if [[ -e $system/etc/pip.conf ]]; then sed -i '/^cert *=/d' "$system/etc/pip.conf"; fi
  fi
}

copy_sources() {
  if [[ $tree == head ]]; then
    git -c safe.directory='*' clone --quiet --no-hardlinks "$root" "$system/holdfast"
  else
    mkdir "$system/holdfast"
    git -C "$root" ls-files --cached --others --exclude-standard -z | tar -C "$root" --null --ignore-failed-read -T - -cf - | tar -C "$system/holdfast" -xf -
    git -C "$system/holdfast" init --quiet
  fi
}

try() {
  local began=$SECONDS status=0
  echo "bare.sh: ./run $1" >&2
  chroot "$system" env -i "${environment[@]}" bash -c 'cd /holdfast && ./run "$1"' bash "$1" </dev/null || status=$?
  results+=("$(printf './run %-8s  exit %d  %d s' "$1" "$status" $((SECONDS - began)))")
  ((status == 0)) || failed=yes
}

main() {
  parse "$@"
  enter_namespace "$@"
  results=()
  failed=no
  system="$(mktemp -d "${TMPDIR:-/var/tmp}/holdfast-bare.XXXXXXXX")"
  chmod 755 "$system"  # it becomes a root folder, which tests that run as another user must be able to enter
  trap clean_up EXIT
  local began=$SECONDS command
  make_system
  share_network
  copy_sources
  results+=("bare Debian $(cat "$system/etc/debian_version") made in $((SECONDS - began)) s")
  for command in "${commands[@]}"; do try "$command"; done
  printf 'bare.sh: %s\n' "${results[@]}"
  [[ $failed == no ]]
}

main "$@"
