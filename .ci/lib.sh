# Shared by examples/run, tests/run, .ci/run and .ci/checks/*; sourced, not run.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
modules=(core termination llm agents)

# The same compile in another build folder, or in another checkout, is found in ccache.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1

packages_to_build=(
  bubblewrap ccache cmake g++ ninja-build pkgconf
  doctest-dev libboost-context1.81-dev libboost1.81-dev libcli11-dev libcurl4-openssl-dev
  libexpected-dev libfmt-dev libhiredis-dev libre2-dev libsimdjson-dev libsqlite3-dev libssl-dev
  nlohmann-json3-dev redis-server
)
packages_to_check=(clang-14 clang-format-14 universal-ctags)

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

# The packages of the arguments that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s ' "$package"
  done
}

# Installs those packages of the arguments that are missing. MODERATO_NO_INSTALL=1: installs nothing (for
# other distributions, where the same libraries have other names).
require_packages() {
  [ "${MODERATO_NO_INSTALL:-}" = 1 ] && return
  local missing name='' VERSION_ID='' ID='' PRETTY_NAME='an unknown system' as_root=()
  if command -v dpkg-query >/dev/null; then missing=$(missing_packages "$@"); else missing="$*"; fi
  [ -z "$missing" ] && return
  # shellcheck disable=SC1091
  [ -r /etc/os-release ] && . /etc/os-release
  if [ "$ID-$VERSION_ID" != debian-12 ]; then
    fail "packages are missing, and this script can install them on Debian 12 only; this is $PRETTY_NAME.
Install what corresponds to: $missing
and run again with MODERATO_NO_INSTALL=1."
  fi
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "packages are missing, and there is neither root nor sudo here.
As root, run: apt-get install $missing"
    as_root=(sudo)
  fi
  say "Installing: $missing"
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086  # a list of words
  if ! { "${as_root[@]}" apt-get -q update &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
           -o DPkg::Lock::Timeout=300 install $missing; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt could not install the packages; its last words are above."
  fi
  rm -f "$log"
}

# Compilers at once: one a processor, but not more than memory allows (1 GiB each).
jobs() {
  local processors memory
  processors=$(nproc)
  memory=$(awk '/^MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo $((processors < memory ? processors : memory))
}

# configured FOLDER: it is a build folder of this checkout.
configured() {
  [ -f "$1/build.ninja" ] && grep -qsx "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$1/CMakeCache.txt"
}

# configure FOLDER [CMAKE-ARGUMENT…]
configure() {
  local folder=$1 fresh=(--fresh)
  shift
  say "Configuring $folder"
  if configured "$folder"; then fresh=(); fi
  quietly cmake "${fresh[@]}" -S "$root" -B "$folder" -G Ninja "$@"
}

# Several source files are compiled as one: half the time from an empty folder.
united=(-DCMAKE_UNITY_BUILD=ON -DCMAKE_UNITY_BUILD_BATCH_SIZE=5)

# build FOLDER TARGET…
build() {
  local folder=$1
  shift
  say "Building in $folder (the first time takes some minutes)"
  if [ -t 2 ]; then
    ninja -C "$folder" -j "$(jobs)" "$@" >&2
  else
    quietly ninja -C "$folder" -j "$(jobs)" "$@"
  fi
}

# Runs a command and shows its output only if it fails.
quietly() {
  local log
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# Our own files with these name endings, relative to $root, one a line: source_files cpp hpp
source_files() {
  local ending names=()
  for ending in "$@"; do names+=(-o -name "*.$ending"); done
  (cd "$root" && find "${modules[@]}" cli examples tests cmake .ci -type f \( "${names[@]:1}" \) | LC_ALL=C sort)
}
