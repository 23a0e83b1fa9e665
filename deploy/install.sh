#!/bin/sh
# Installs or upgrades the gateway from a wheel, or goes back to the environment before (--back).
set -eu

ROOT=${MAINWATCH_ROOT:-}
HOME_OF=$ROOT/opt/mainwatch
ETC=$ROOT/etc/mainwatch
UNITS=$ROOT/etc/systemd/system
here=$(dirname "$0")

[ $# -eq 1 ] || { echo "usage: install.sh WHEEL | --back" >&2; exit 2; }
[ -n "$ROOT" ] || [ "$(id -u)" -eq 0 ] || { echo "install.sh: expected root" >&2; exit 2; }

if [ "$1" = --back ]; then
    [ -e "$HOME_OF/before" ] || { echo "install.sh: there is nothing to go back to" >&2; exit 2; }
    now=$(readlink "$HOME_OF/now")
    ln -sfn "$(readlink "$HOME_OF/before")" "$HOME_OF/now"
    ln -sfn "$now" "$HOME_OF/before"
    echo "now: $(readlink "$HOME_OF/now"); restart with: systemctl restart mainwatch-gateway"
    exit 0
fi

wheel=$1
[ -f "$wheel" ] || { echo "install.sh: expected a wheel, found none at $wheel" >&2; exit 2; }
name=$(basename "$wheel" .whl)
mkdir -p "$HOME_OF" "$ETC" "$UNITS"

if [ ! -x "$HOME_OF/$name/bin/mainwatch" ]; then
    rm -rf "$HOME_OF/$name.new"
    python3 -m venv "$HOME_OF/$name.new"
    "$HOME_OF/$name.new/bin/python" -m pip install --quiet --only-binary :all: "$wheel[gateway,gpio]"
    # The scripts name their place, so they are made where they stay.
    rm -rf "$HOME_OF/$name"
    mv "$HOME_OF/$name.new" "$HOME_OF/$name"
    sed -i "s|$HOME_OF/$name.new|$HOME_OF/$name|g" "$HOME_OF/$name/bin/"* 2>/dev/null || true
fi
if [ -e "$HOME_OF/now" ] && [ "$(readlink "$HOME_OF/now")" != "$name" ]; then
    ln -sfn "$(readlink "$HOME_OF/now")" "$HOME_OF/before"
fi
ln -sfn "$name" "$HOME_OF/now"
ln -sfn now/bin "$HOME_OF/bin"

install -m 644 "$here/mainwatch-gateway.service" "$UNITS/mainwatch-gateway.service"
[ -e "$ETC/gateway.toml" ] || install -m 644 "$here/gateway.toml" "$ETC/gateway.toml"
if [ -z "$ROOT" ]; then
    ln -sfn "$HOME_OF/bin/mainwatch" /usr/local/bin/mainwatch
    systemctl daemon-reload
fi
echo "installed $name; next: $ETC/gateway.toml, then systemctl enable --now mainwatch-gateway"
