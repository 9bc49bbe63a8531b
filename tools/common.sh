# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# Shared by tools/quickstart and tools/check: finding and installing Debian packages, configuring.
# Sourced by bash with `set -euo pipefail`; expects $root, the top of the source tree.
: "${root:?}"

say() { printf '\n== %s\n' "$*"; }
fail() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Packages of the named groups, from tools/packages.
packages_of() {
    local group
    for group in "$@"; do
        awk -v group="$group" '!/^#/ && $2 == group { print $1 }' "$root/tools/packages"
    done
}

missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            printf '%s\n' "$package"
    done
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null
}

apt_lists_are_fresh() {
    [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -7 2>/dev/null | head -n 1)" ]
}

# Installs what is missing of the named groups when root on Debian; otherwise says what is missing.
need_packages() {
    local -a wanted missing
    mapfile -t wanted < <(packages_of "$@")
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        printf 'Not a Debian system: nothing is installed. Needed, by their Debian names: %s\n' \
            "${wanted[*]}"
        return
    fi
    mapfile -t missing < <(missing_packages "${wanted[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        printf 'Missing Debian packages: %s\n' "${missing[*]}" >&2
        fail "run this, then try again:
  sudo apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    apt_lists_are_fresh || apt_get update
    # A list that is a few days old can name versions that the mirror no longer has.
    apt_get install -y --no-install-recommends "${missing[@]}" ||
        { apt_get update && apt_get install -y --no-install-recommends "${missing[@]}"; } ||
        fail "apt-get could not install: ${missing[*]}"
}

# Fetches the kernels that tests/qemu boots and unpacks no more than their images, to where
# tests/qemu/run.py looks. A kernel that cannot be had is told; its test is skipped then.
unpack_kernels() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/libfsys/kernels scratch meta package
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 0
    for meta in $(packages_of kernel); do
        # The package of that name only names the newest one.
        package=$(apt-cache depends "$meta" 2>/dev/null | awk '/Depends: linux-image-/ { print $2; exit }')
        if [ -z "$package" ]; then
            printf 'not to be had: %s\n' "$meta" >&2
            continue
        fi
        [ ! -e "$cache/vmlinuz-${package#linux-image-}" ] || continue
        say "unpacking $package"
        mkdir -p "$cache"
        scratch=$(mktemp -d)
        if (cd "$scratch" && apt_get download "$package" &&
            dpkg-deb --fsys-tarfile ./*.deb | tar -x --wildcards './boot/vmlinuz-*'); then
            cp "$scratch"/boot/vmlinuz-* "$cache/"
        else
            printf 'could not be fetched: %s\n' "$package" >&2
        fi
        rm -rf "$scratch"
    done
}

# configure DIRECTORY OPTIONS...: a new build directory, or new options for an old one. A directory
# that Meson no longer accepts (moved tree, other version) is made anew.
configure() {
    local build=$1
    shift
    if [ -f "$build/meson-private/coredata.dat" ] &&
        meson setup --reconfigure "$build" "$root" "$@" </dev/null; then
        return
    fi
    rm -rf "$build"
    meson setup "$build" "$root" --wrap-mode=nodownload "$@" </dev/null
}
