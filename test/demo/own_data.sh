# own_data.sh: make demo DATA=file.csv reads the file into own.events. Sourced by demo.sh.

WANTED_COLUMNS='module,user_id,item_id[,weight[,occurred_at]]'

# The names of the file's columns: its first line, or, when that has none, the usual order.
own_columns() {
	local first columns
	first=$(head -1 "$DATA" | sed 's/^\xef\xbb\xbf//' | tr -d '\r" ')
	case $first in
		*user_id*) columns=$first HEADER=true ;;
		*,*,*,*,*,*) ;;
		*,*,*,*,*) columns=module,user_id,item_id,weight,occurred_at ;;
		*,*,*,*) columns=module,user_id,item_id,weight ;;
		*,*,*) columns=module,user_id,item_id ;;
	esac
	for name in module user_id item_id; do
		case ",${columns:-}," in *",$name,"*) ;; *) columns= ;; esac
	done
	for name in ${columns//,/ }; do
		case $name in module | user_id | item_id | weight | occurred_at) ;; *) columns= ;; esac
	done
	[ -n "${columns:-}" ] || stop "$DATA: the columns must be $WANTED_COLUMNS, separated by commas, with these names in the first line or in this order without; the first line is:
  $first"
	[ "$HEADER" = true ] || echo "$DATA has no line of names: its columns are taken as $columns"
	FILE_COLUMNS=$columns
}

own_data() {
	HEADER=false
	own_columns
	$PSQL -c 'CREATE SCHEMA own' -c 'CREATE TABLE own.events (module text NOT NULL, user_id text, item_id text,
		weight float8 DEFAULT 1 CONSTRAINT "a weight is a number and not negative" CHECK (weight BETWEEN 0 AND 1e300),
		occurred_at timestamptz)' || return 1
	$PSQL -c "\\copy own.events($FILE_COLUMNS) FROM pstdin WITH (FORMAT csv, HEADER $HEADER)" <"$DATA" ||
		{ echo "$DATA: the line named above does not hold $FILE_COLUMNS; nothing was read"; return 1; }
	$PSQL -f test/demo/own_data.sql
}
