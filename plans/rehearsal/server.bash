#!/bin/bash
# One MariaDB server of the rehearsal: DIR/SIDE/data on PORT of loopback. Removes its data at the end when DIR/finished
# says that the rehearsal succeeded: only the one who uses them knows when nobody does any more.
set -euo pipefail
PATH=$PATH:/usr/sbin

# To end, the whole process group is told; this shell stays until the server has ended.
trap : TERM INT
mariadbd --no-defaults --user="$(id -un)" --datadir="$DIR/$SIDE/data" --tmpdir="$DIR/$SIDE/tmp" \
  --socket="$DIR/$SIDE/socket" --pid-file="$DIR/$SIDE/pid" --bind-address=127.0.0.1 --port="$PORT" --init-file="$INIT" --skip-log-bin \
  --innodb-buffer-pool-size=128M --innodb-log-file-size=256M --innodb-flush-log-at-trx-commit=2 \
  --innodb-fast-shutdown=2 --max-allowed-packet=64M --event-scheduler=OFF &
server=$!
code=0
while kill -0 "$server" 2> /dev/null; do wait "$server" && code=0 || code=$?; done
if [ -e "$DIR/finished" ]; then rm -rf "${DIR:?}/$SIDE"; fi
exit "$code"
