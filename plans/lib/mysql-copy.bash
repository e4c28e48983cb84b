# Functions for the scripts of dump-restore.yaml: ask the two servers, compare what they answer.
# Knows nothing of flowrun; a script sets SOURCE_CNF and TARGET_CNF, and sources this file.
# A side is `source` or `target`.

mysql_client=$(type -P mariadb || type -P mysql || true)
mysql_dump=$(type -P mariadb-dump || type -P mysqldump || true)

# Databases that belong to the server itself. Compared byte for byte: a database named `SYS` is a user's.
system_schemas="'mysql','information_schema','performance_schema','sys'"

die() {
  printf '%s\n' "$@" >&2
  exit 1
}

option_file_of() {
  case $1 in
    source) printf '%s' "$SOURCE_CNF" ;;
    target) printf '%s' "$TARGET_CNF" ;;
    *) die "no such side: $1" ;;
  esac
}

# connect SIDE [OPTION...]: a client for statements on standard input; a row is a line, columns are parted by tabs.
connect() {
  local side=$1
  shift
  "$mysql_client" --defaults-file="$(option_file_of "$side")" --default-character-set=utf8mb4 \
    --batch --skip-column-names --raw "$@"
}

# sql SIDE STATEMENT
sql() {
  connect "$1" --execute="$2"
}

# A text as SQL, whatever it holds and whatever sql_mode says of backslashes.
literal() {
  printf "_utf8mb4 x'%s'" "$(printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n')"
}

# in_database COLUMN DB: a condition. The plain comparison lets the server open this database only; the binary one
# keeps `acme` and `Acme` apart, which the names' collation does not.
in_database() {
  local name
  name=$(literal "$2")
  printf '%s = %s AND BINARY %s = BINARY %s' "$1" "$name" "$1" "$name"
}

# The names of a database's base tables, sorted by bytes.
tables_of() {
  sql "$1" "SELECT table_name FROM information_schema.tables
    WHERE $(in_database table_schema "$2") AND table_type = 'BASE TABLE'" | LC_ALL=C sort
}

# The names of a database's views, sorted by bytes.
views_of() {
  sql "$1" "SELECT table_name FROM information_schema.tables
    WHERE $(in_database table_schema "$2") AND table_type = 'VIEW'" | LC_ALL=C sort
}

# database_exists SIDE DB
database_exists() {
  [ "$(sql "$1" "SELECT COUNT(*) FROM information_schema.schemata WHERE $(in_database schema_name "$2")")" != 0 ]
}

# row_counts SIDE DB: a line for each base table, its name and its number of rows.
row_counts() {
  sql "$1" "SELECT CONCAT('SELECT ', QUOTE(table_name), ', COUNT(*) FROM \`', table_schema, '\`.\`', table_name, '\`;')
    FROM information_schema.tables
    WHERE $(in_database table_schema "$2") AND table_type = 'BASE TABLE'" | connect "$1" | LC_ALL=C sort
}

# checksums SIDE DB: a line for each base table, its name and a sum over its rows that their order does not change.
# CHECKSUM TABLE will not do: with BIT columns it gives two values for equal tables. A column is summed by itself, so
# that columns of several collations need not be compared.
checksums() {
  sql "$1" "SET SESSION group_concat_max_len = 16777216;
    SELECT CONCAT('SELECT ', QUOTE(table_name), ', COALESCE(SUM(CRC32(CONCAT_WS(\',\', ',
                  GROUP_CONCAT('IFNULL(CRC32(\`', column_name, '\`), \'-\')' ORDER BY ordinal_position),
                  '))), 0) FROM \`', table_schema, '\`.\`', table_name, '\`;')
      FROM information_schema.columns
     WHERE $(in_database table_schema "$2")
       AND BINARY table_name IN (SELECT BINARY table_name FROM information_schema.tables
                                  WHERE $(in_database table_schema "$2") AND table_type = 'BASE TABLE')
     GROUP BY BINARY table_name" | { echo "SET SESSION time_zone = '+00:00';"; cat; } | connect "$1" | LC_ALL=C sort
}

# objects SIDE DB: views, triggers, routines and events of a database, each with all that makes it what it is.
objects() {
  sql "$1" "
    SELECT CONCAT('view ', table_name),
           CONCAT_WS(' ', definer, security_type, check_option, MD5(view_definition))
      FROM information_schema.views WHERE $(in_database table_schema "$2")
    UNION ALL
    SELECT CONCAT('trigger ', trigger_name),
           CONCAT_WS(' ', definer, action_timing, event_manipulation, event_object_table, action_order, sql_mode, MD5(action_statement))
      FROM information_schema.triggers WHERE $(in_database trigger_schema "$2")
    UNION ALL
    SELECT CONCAT(LOWER(routine_type), ' ', routine_name),
           CONCAT_WS(' ', definer, security_type, sql_data_access, is_deterministic, dtd_identifier, sql_mode, MD5(routine_definition))
      FROM information_schema.routines WHERE $(in_database routine_schema "$2")
    UNION ALL
    SELECT CONCAT('event ', event_name),
           CONCAT_WS(' ', definer, event_type, interval_value, interval_field, status, on_completion, sql_mode, MD5(event_definition))
      FROM information_schema.events WHERE $(in_database event_schema "$2")" | LC_ALL=C sort
}

# differences DB KIND FILE FILE: what two listings (name, tab, value) do not agree on, as lines of CSV:
# database, what is compared, name, at the source, at the target.
differences() {
  DB=$1 KIND=$2 LC_ALL=C awk -F'\t' '
    function csv(text) { gsub(/"/, "\"\"", text); return "\"" text "\"" }
    function line(name, source, target) {
      print csv(ENVIRON["DB"]) "," csv(ENVIRON["KIND"]) "," csv(name) "," csv(source) "," csv(target)
    }
    FILENAME == ARGV[1] { source[$1] = $2; next }
    !($1 in source)     { line($1, "missing", $2); next }
    { if (source[$1] "" != $2 "") line($1, source[$1], $2); delete source[$1] }
    END { for (name in source) line(name, source[name], "missing") }
  ' "$3" "$4" | LC_ALL=C sort
}

# What rises when anybody writes to the server, by whatever way: rows written, replicated ones too, and changes of
# schema. Reading moves none of it. The time of start stands beside it, for a restart begins at nought again.
write_counters() {
  sql "$1" "SHOW GLOBAL STATUS WHERE
      variable_name IN ('Handler_write', 'Handler_update', 'Handler_delete', 'Com_rename_table', 'Com_truncate')
      OR variable_name LIKE 'Com\_create\_%' OR variable_name LIKE 'Com\_alter\_%' OR variable_name LIKE 'Com\_drop\_%'" |
    grep -v temporary_table
  local now uptime
  now=$(sql "$1" 'SELECT UNIX_TIMESTAMP()')
  uptime=$(sql "$1" "SHOW GLOBAL STATUS LIKE 'Uptime'" | cut -f2)
  printf 'started_at\t%s\n' $((now - uptime))
}

# what_was_written BEFORE AFTER: the counters that moved between two listings, one a line; nothing if none did.
what_was_written() {
  awk -F'\t' '
    FNR == NR { before[$1] = $2; next }
    $1 == "started_at" { if ($2 - before[$1] > 5) print "the server was started again"; next }
    $2 != before[$1] { print $1 ": " before[$1] " -> " $2 }
  ' <(printf '%s\n' "$1") <(printf '%s\n' "$2")
}
