#!/bin/bash
# What each folder may use, by its #include lines, and calls that no file may have. See docs/architecture.md.
set -uo pipefail

cd "$(dirname "$0")/../.." || exit 1
faults=0

fault() {
    echo "$1"
    faults=$((faults + 1))
}

# folder: the project's folders that it may include, besides itself
declare -A may=(
    [core]=""
    [db]="core"
    [shim]=""
    [host]="core shim"
    [keeper]="core db"
    [worker]="core host shim"
    [api]="core db"
    [server]="core db api"
)
# library header: the folder that may include it
declare -A owner=([sqlite3.h]=db [microhttpd.h]=server)

files() { find "$1" -name '*.[chS]' | sort; }

check_folder() {
    local folder=$1 where header target
    while read -r where header; do
        target=${header%%/*}
        if [ "$target" != "$header" ] && [[ -n ${may[$target]+known} ]] && [ "$target" != "$folder" ] &&
            [[ " ${may[$folder]} " != *" $target "* ]]; then
            fault "$where: $folder/ must not include $header"
        fi
        if [[ $header == *..* ]]; then
            fault "$where: $header is not written from the repository's root"
        fi
        if [[ -n ${owner[$header]+known} ]] && [ "${owner[$header]}" != "$folder" ]; then
            fault "$where: only ${owner[$header]}/ may include $header"
        fi
    done < <(files "$folder" | xargs -r grep -EnH '^[[:space:]]*#[[:space:]]*include' |
        sed -E 's/^([^:]+:[0-9]+):[^<"]*[<"]([^>"]+)[>"].*/\1 \2/')
}

# The rooms of host/, from the one that uses the others to the one that is used: what a room may use besides itself.
declare -A rooms=(
    [host/process]=""
    [host/link]="host/process"
    [host/gate]="host/link host/process"
    [host/nft]="host/gate host/link host/process"
    [host/tunnel]="host/link host/process"
    [host/vmm]="host/process"
    [host/store]="host/process"
)

check_room() {
    local room=$1 where header target
    while read -r where header; do
        target=${header%/*}
        if [[ -n ${rooms[$target]+known} ]] && [ "$target" != "$room" ] && [[ " ${rooms[$room]} " != *" $target "* ]]; then
            fault "$where: $room/ must not include $header"
        fi
    done < <(files "$room" | xargs -r grep -EnH '^[[:space:]]*#[[:space:]]*include' | sed -E 's/^([^:]+:[0-9]+):[^<"]*[<"]([^>"]+)[>"].*/\1 \2/')
}

for room in "${!rooms[@]}"; do
    [ -d "$room" ] || fault "there is no folder $room/"
    check_room "$room"
done
while read -r stray; do
    fault "$stray: each file of host/ lies in a room"
done < <(find host -maxdepth 1 -type f)

# A file of worker/ (a .c and its .h are one) uses no other that uses it, by whatever way.
worker_uses() {
    files worker | xargs grep -EH '^#include "worker/' | sed -E 's/^(.*)\.[ch]:#include "(.*)\.h"$/\1 \2/' | awk '$1 != $2'
}
circle=$(worker_uses | tsort 2>&1 > /dev/null)
[ -z "$circle" ] || fault "worker/ has a circle: ${circle//$'\n'/ }"

count=0
for folder in "${!may[@]}"; do
    if [ ! -d "$folder" ]; then
        fault "there is no folder $folder/"
        continue
    fi
    count=$((count + $(files "$folder" | wc -l)))
    check_folder "$folder"
done
[ "$count" -gt 50 ] || fault "only $count files were found: is this the repository?"

# No shell, anywhere, and nothing that is as good as one. (Own functions may have these words at the end of their names.)
while read -r line; do
    fault "$line: no shell may be called"
done < <(grep -rEn --include='*.[ch]' '(^|[^A-Za-z0-9_.>])(system|popen|wordexp|execlp|execvp|execvpe)[[:space:]]*\(' \
    core shim db host keeper worker api server tests ./*.c | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(\*|//|/\*)')

# SQL stands in db/ alone.
while read -r line; do
    fault "$line: SQL belongs into db/"
done < <(grep -rEn --include='*.[ch]' '"[[:space:]]*(SELECT [a-z*]|INSERT (OR [A-Z]+ )?INTO|UPDATE [a-z]+ SET|DELETE FROM|PRAGMA )' \
    core host keeper shim worker api server ./*.c)

[ "$faults" -eq 0 ] || exit 1
echo "$count files keep to their folders"
