#!/bin/sh
# Installs the certctl agent as a systemd service: fetches a release over HTTPS, checks its signature and its check sums, and puts program and
# unit in place. What fails a check is thrown away, and nothing on the machine has changed. To run it again changes nothing that is right.
set -eu
umask 022

# Filled in by `cargo xtask release`: a copy that comes with a release trusts the key of that release's makers alone.
version=''
from=''
public_key=''

usage() {
    cat <<END
usage: install-agent.sh [OPTIONS]

  --from URL           where the release is, as https://HOST/FOLDER${from:+ [default: $from]}
  --version VERSION    which release${version:+ [default: $version]}
  --public-key FILE    PEM file with the key that signed it; by default the one in this script
  --cacert FILE        CA of a download server of your own
  --server URL         the certctl server, as https://HOST:PORT; with --token-file
  --token-file FILE    one-time token to enroll with (certctl agents token create)
  --ca FILE            CA that the certctl server's certificate is from
  --name NAME          name that the agent would like
  --root DIR           install below this folder, without users and services; for images and tests
  --start              switch the service on and start it
  --dry-run            fetch and check, say what would be done, change nothing
  --uninstall          remove program, unit and user; settings, identity and keys stay
  --help               this text

The token is read from its file by the agent itself: it is in no command line and in no environment.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the release is not what its makers signed
END
}

say() {
    echo "install-agent: $*" >&2
}

# fail CODE WHAT [HINT]
fail() {
    code=$1
    say "error: $2"
    if [ $# -gt 2 ]; then
        say "hint: $3"
    fi
    exit "$code"
}

server='' token_file='' ca='' name='' root='' key_file='' cacert=''
start=no dry_run=no uninstall=no
while [ $# -gt 0 ]; do
    case $1 in
    --from | --version | --public-key | --cacert | --server | --token-file | --ca | --name | --root)
        [ $# -ge 2 ] || fail 2 "$1 needs a value"
        case $1 in
        --from) from=$2 ;;
        --version) version=$2 ;;
        --public-key) key_file=$2 ;;
        --cacert) cacert=$2 ;;
        --server) server=$2 ;;
        --token-file) token_file=$2 ;;
        --ca) ca=$2 ;;
        --name) name=$2 ;;
        --root) root=${2%/} ;;
        esac
        shift 2
        ;;
    --start) start=yes && shift ;;
    --dry-run) dry_run=yes && shift ;;
    --uninstall) uninstall=yes && shift ;;
    --help | -h) usage && exit 0 ;;
    *) fail 2 "unknown option: $1" "install-agent.sh --help" ;;
    esac
done

program=$root/usr/bin/certctl-agent
unit=$root/etc/systemd/system/certctl-agent.service
settings=$root/etc/certctl-agent

# Whether users and services of this machine are ours to change.
on_this_machine() {
    [ -z "$root" ]
}

with_systemd() {
    on_this_machine && [ -d /run/systemd/system ]
}

as_root() {
    if [ "$(id -u)" -ne 0 ] && on_this_machine && [ "$dry_run" = no ]; then
        fail 1 "only root can install a service" "sudo sh install-agent.sh ..."
    fi
}

if on_this_machine && command -v dpkg-query >/dev/null && dpkg-query --show --showformat='${db:Status-Status}' certctl-agent 2>/dev/null | grep -q '^installed$'; then
    fail 1 "the Debian package certctl-agent is installed" "apt install ./certctl-agent_VERSION_ARCH.deb, or remove the package first"
fi

if [ "$uninstall" = yes ]; then
    as_root
    if [ "$dry_run" = yes ]; then
        say "would stop the service and remove $program and $unit"
        exit 0
    fi
    if with_systemd; then
        systemctl disable --now --quiet certctl-agent.service 2>/dev/null || true
    fi
    rm -f "$program" "$program.old" "$unit"
    if with_systemd; then
        systemctl daemon-reload
    fi
    say "removed; settings are kept in $settings, identity and keys in $root/var/lib/certctl-agent"
    exit 0
fi

# What does not go together is said before anything is fetched.
as_root
[ -n "$from" ] || fail 2 "it is not known where the release is" "--from https://HOST/FOLDER"
[ -n "$version" ] || fail 2 "it is not known which release" "--version 0.1.0"
case $from in
https://*) from=${from%/} ;;
*) fail 2 "$from: a release is fetched by https alone" "--from https://HOST/FOLDER" ;;
esac
case $version in
*[!0-9A-Za-z.+~-]* | [!0-9]*) fail 2 "'$version' is no version" ;;
esac
if [ -n "$key_file" ]; then
    [ -r "$key_file" ] || fail 2 "cannot read $key_file"
    public_key=$(cat "$key_file")
fi
case $public_key in
*"BEGIN PUBLIC KEY"*) ;;
*) fail 2 "this copy of the script has no key to check a release with" "take the one that comes with a release, or give --public-key FILE" ;;
esac
if [ -n "$token_file" ]; then
    [ -s "$token_file" ] || fail 2 "$token_file is not there or empty"
    [ -n "$server" ] || fail 2 "--token-file needs --server"
    on_this_machine || fail 2 "--token-file and --root do not go together" "enroll on the machine itself"
elif [ -n "$server$ca$name" ]; then
    fail 2 "--server, --ca and --name are for enrolling" "add --token-file FILE"
fi
for needed in curl openssl sha256sum tar gzip mktemp; do
    command -v "$needed" >/dev/null || fail 1 "$needed is not installed, and this script needs it"
done
case $(uname -s)-$(uname -m) in
Linux-x86_64) architecture=amd64 ;;
Linux-aarch64) architecture=arm64 ;;
*) fail 1 "there is no release for $(uname -s) on $(uname -m)" "build it from source: cargo build --release" ;;
esac

archive=certctl-agent-$version-linux-$architecture.tar.gz
work=$(mktemp -d)
# Whatever happens, nothing half is left.
leave() {
    rm -rf "$work"
    rm -f "$program.new.$$" "$unit.new.$$"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

# fetch NAME LIMIT: never more than LIMIT bytes, never by anything but HTTPS, also after a redirect.
fetch() {
    set -- "$1" "$2" --fail --silent --show-error --location --proto '=https' --proto-redir '=https' --tlsv1.2 --max-redirs 5 \
        --connect-timeout 20 --max-time 900 --retry 2 --max-filesize "$2" --output "$work/$1"
    if [ -n "$cacert" ]; then
        set -- "$@" --cacert "$cacert"
    fi
    what=$1
    shift 2
    curl "$@" "$from/$what" || fail 1 "cannot fetch $from/$what" "is the version right, and is the machine online?"
}

fetch SHA256SUMS 65536
fetch SHA256SUMS.sig 1024
printf '%s\n' "$public_key" >"$work/key.pem"
# First of all the signature: until it holds, nothing of the list is believed.
openssl dgst -sha256 -verify "$work/key.pem" -signature "$work/SHA256SUMS.sig" "$work/SHA256SUMS" >/dev/null 2>&1 ||
    fail 3 "the list of check sums is not signed by the key that this script trusts" "fetch script and release anew from where their makers publish them"
# One line for this name and no other: the version is in it, so an older release under this address is refused.
grep -E "^[0-9a-f]{64}  $(printf '%s' "$archive" | sed 's/[.+]/\\&/g')\$" "$work/SHA256SUMS" >"$work/sum" ||
    fail 3 "the signed list has no $archive" "it is the list of another release, or there is none for this kind of machine"
fetch "$archive" 268435456
(cd "$work" && sha256sum --check --status sum) ||
    fail 3 "$archive is not what its makers signed" "the download was changed or cut; try again, then ask its makers"

mkdir "$work/in"
tar --extract --gzip --file "$work/$archive" --directory "$work/in" --strip-components=1 --no-same-owner
new=$work/in/certctl-agent
for file in "$new" "$work/in/certctl-agent.service"; do
    [ -f "$file" ] || fail 3 "$archive has not what it should have"
done
# A program that does not run here, because of its glibc or its processor, is not put in place of one that does.
told=$("$new" --version 2>"$work/why") || fail 1 "the program does not run on this machine: $(cat "$work/why")"
[ "$told" = "certctl-agent $version" ] || fail 3 "the program says that it is '$told'"

if [ "$dry_run" = yes ]; then
    say "$archive is signed and whole; would install $program and $unit"
    exit 0
fi

# put FROM TO MODE: the new file stands beside the old one, on its disk, before it takes its place.
put() {
    if [ -f "$2" ] && cmp -s "$1" "$2"; then
        say "unchanged: $2"
        return 0
    fi
    mkdir -p "$(dirname "$2")"
    rm -f "$2".new.*
    cp "$1" "$2.new.$$"
    chmod "$3" "$2.new.$$"
    sync "$2.new.$$"
    mv -f "$2.new.$$" "$2"
    changed=yes
    say "installed: $2"
}

changed=no
put "$new" "$program" 0755
put "$work/in/certctl-agent.service" "$unit" 0644
mkdir -p "$settings"

if on_this_machine; then
    if ! id certctl-agent >/dev/null 2>&1; then
        useradd --system --user-group --home-dir /var/lib/certctl-agent --no-create-home --shell /usr/sbin/nologin certctl-agent
        say "made the user certctl-agent"
    fi
    if with_systemd; then
        systemctl daemon-reload
    fi
fi

if [ -n "$token_file" ]; then
    if [ -s /var/lib/certctl-agent/identity.json ]; then
        say "enrolled already"
    else
        state=/var/lib/certctl-agent
        install -d -o certctl-agent -g certctl-agent -m 0700 "$state"
        set -- enroll --server "$server" --token-file - --state-dir "$state"
        if [ -n "$ca" ]; then
            install -m 0644 "$ca" "$settings/ca.pem"
            set -- "$@" --ca "$settings/ca.pem"
        fi
        if [ -n "$name" ]; then
            set -- "$@" --name "$name"
        fi
        # As the user of the service; the file with the token may be readable for root alone.
        setpriv --reuid=certctl-agent --regid=certctl-agent --init-groups -- "$program" "$@" <"$token_file" ||
            fail 1 "the agent is installed and not enrolled" "mend what it said, and run this again"
    fi
fi

if with_systemd; then
    if [ "$start" = yes ]; then
        systemctl enable --now --quiet certctl-agent.service
    fi
    if [ "$changed" = yes ]; then
        systemctl try-restart certctl-agent.service
    fi
fi
say "done: certctl-agent $version"
