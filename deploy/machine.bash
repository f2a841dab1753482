# What this machine has and lacks, and how to get it: read by deploy/quickstart, tests/run and tests/soak.
# shellcheck shell=bash

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/copyist"

die() {
  printf '%s\n' "$@" >&2
  exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# The directory that cargo builds into.
target_directory() {
  cargo metadata --no-deps --offline --format-version 1 --manifest-path "$repository/Cargo.toml" |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# Rust comes from rustup, not from Debian, whose version is too old: checked, never installed.
require_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$repository/Cargo.toml")
  if ! has cargo || ! has rustc; then
    die "Rust $wanted or newer is needed, and there is none on the PATH. Its installer, rustup, is at https://rustup.rs"
  fi
  found=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
  [[ $(printf '%s\n' "$wanted" "$found" | sort --version-sort | head -n 1) == "$wanted" ]] ||
    die "Rust $wanted or newer is needed, and $(command -v rustc) is $found. With rustup: rustup update stable"
  printf 'Rust %s (%s or newer is needed)\n' "$found" "$wanted"
}

# JAVA_HOME counts before PATH, as in the launcher.
java_is_new_enough() {
  local bin=${JAVA_HOME:+$JAVA_HOME/bin/} major
  has "${bin}javac" && has "${bin}java" || return 1
  major=$("${bin}javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')
  ((${major:-0} >= 17))
}

# Debian's names of what is missing to build Copyist and to run Kafka, into the array `packages`.
find_missing_packages() {
  packages=()
  # g++ brings the C library's headers along; librdkafka's configure asks for it.
  if ! has cc || ! has c++ || ! [[ -e /usr/include/stdio.h ]]; then packages+=(gcc g++); fi
  has make || packages+=(make)
  has pkg-config || packages+=(pkg-config)
  if ! has pkg-config || ! pkg-config --exists openssl; then packages+=(libssl-dev); fi
  # etcd's client compiles etcd's contracts, which include protobuf's own.
  has protoc || packages+=(protobuf-compiler)
  [[ -e /usr/include/google/protobuf/descriptor.proto ]] || packages+=(libprotobuf-dev)
  java_is_new_enough || packages+=(openjdk-17-jdk-headless)
  has mvn || packages+=(maven)
  has curl || packages+=(curl)
  has setpriv || packages+=(util-linux)
  [[ -e /etc/ssl/certs/ca-certificates.crt ]] || packages+=(ca-certificates)
}

# What only the tests need besides. promtool, etcd, grpcurl and Connect's clients are made into the cache, see below.
find_missing_test_packages() {
  has shellcheck || packages+=(shellcheck)
  has openssl || packages+=(openssl)
  if ! has grpcurl && ! [[ -x $cache/bin/grpcurl ]] && ! has go; then packages+=(golang-go); fi
  # Python's own module venv is there without what it needs to put pip into an environment.
  if ! has python3 || ! python3 -c 'import ensurepip' 2>/dev/null; then packages+=(python3-venv); fi
}

apt_install_line() { printf 'apt-get install --no-install-recommends %s' "${packages[*]}"; }

# A machine that was just set up has no lists of packages yet.
apt_lists_know() { apt-cache show "$1" >/dev/null 2>&1; }

# Newer systems have no OpenJDK 17; theirs is newer.
choose_jdk() {
  local at
  for at in "${!packages[@]}"; do
    if [[ ${packages[at]} == openjdk-17-jdk-headless ]] && ! apt_lists_know openjdk-17-jdk-headless; then
      packages[at]=default-jdk-headless
    fi
  done
}

# What apt-get itself says about the sizes: "Need to get 253 MB of archives. …"
apt_sizes() {
  LC_ALL=C apt-get install --no-install-recommends --assume-no -o Debug::NoLocking=1 "${packages[@]}" 2>&1 |
    grep -E '^(Need to get|After this operation)' || true
}

may_install() { ((EUID == 0)) && has apt-get; }

# promtool alone: Debian's package would start a server.
ensure_promtool() {
  has promtool || [[ -x $cache/bin/promtool ]] && return
  has apt-get || die "promtool is needed, it comes with Prometheus: put it on the PATH"
  local work="$cache/promtool.partial"
  rm -rf "$work" && mkdir -p "$work" "$cache/bin"
  (cd "$work" && apt-get --quiet download prometheus && dpkg-deb --extract prometheus_*.deb .)
  mv "$work/usr/bin/promtool" "$cache/bin/promtool"
  rm -rf "$work"
}

# etcd and etcdctl alone: Debian's package would start a server on etcd's own port.
ensure_etcd() {
  has etcd && has etcdctl || [[ -x $cache/bin/etcd && -x $cache/bin/etcdctl ]] && return
  has apt-get || die "etcd and etcdctl (3.4 or newer) are needed: put them on the PATH"
  local work="$cache/etcd.partial"
  rm -rf "$work" && mkdir -p "$work" "$cache/bin"
  (
    cd "$work" && apt-get --quiet download etcd-server etcd-client
    for package in etcd-*.deb; do dpkg-deb --extract "$package" .; done
  )
  mv "$work/usr/bin/etcd" "$work/usr/bin/etcdctl" "$cache/bin/"
  rm -rf "$work"
}

# This version builds with every Go from 1.18 on; Debian 12 has 1.19.
ensure_grpcurl() {
  has grpcurl || [[ -x $cache/bin/grpcurl ]] && return
  has go || die "grpcurl is needed: put it on the PATH, or Go 1.18 or newer to build it"
  local work="$cache/grpcurl.partial"
  rm -rf "$work" && mkdir -p "$work" "$cache/bin"
  GOBIN=$work CGO_ENABLED=0 go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.8.9
  mv "$work/grpcurl" "$cache/bin/grpcurl"
  rmdir "$work"
}

# Third-party clients of Connect's REST API, in Python, in an environment of their own. Made where it stays: its programs
# name their place.
ensure_connect_clients() {
  local venv="$cache/connect-clients" wanted="$repository/tests/clients/requirements.txt"
  cmp --quiet "$wanted" "$venv/installed.txt" && return
  rm -rf "$venv" && mkdir -p "$cache"
  python3 -m venv "$venv"
  "$venv/bin/pip" --quiet --disable-pip-version-check install --requirement "$wanted"
  cp "$wanted" "$venv/installed.txt"
}
