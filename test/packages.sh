# packages.sh: which PostgreSQL to build for, and the packages that are missing. Sourced by run.sh.
#
# PG_CONFIG, when given, decides. Else: the pg_config in PATH if it belongs to a complete server;
# else the newest server installed by the distribution; else the distribution's own version.

major_of() { "$1" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p'; }

is_complete() {
	[ -x "$("$1" --bindir)/initdb" ] && [ -f "$("$1" --includedir-server)/postgres.h" ]
}

newest_installed() {
	ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sed 's|.*/\([0-9]*\)/bin/initdb|\1|' | sort -n | tail -1
}

# What "apt-get install postgresql" would bring. A machine whose package lists are empty knows
# it only by the name of its release.
distribution_version() {
	local version
	version=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -1)
	[ -n "$version" ] || version=$(. /etc/os-release 2>/dev/null; case "${ID:-}${VERSION_ID:-}" in
		debian12) echo 15 ;; debian13) echo 17 ;; ubuntu22.04) echo 14 ;; ubuntu24.04) echo 16 ;; esac)
	echo "$version"
}

# Sets VERSION, and PG_CONFIG to the program of that server, which may not exist yet.
choose_server() {
	case $PG_CONFIG in
		pg_config)
			if command -v pg_config >/dev/null && is_complete pg_config; then
				VERSION=$(major_of pg_config)
				PG_CONFIG=$(pg_config --bindir)/pg_config
				[ -x "$PG_CONFIG" ] || PG_CONFIG=$(command -v pg_config)
			else
				VERSION=$(newest_installed)
				[ "${VERSION:-0}" -ge 15 ] || VERSION=$(distribution_version)
				[ -n "$VERSION" ] || stop "no PostgreSQL found, and no package manager that knows one: give PG_CONFIG=/path/to/pg_config of PostgreSQL 15 or later"
				PG_CONFIG=/usr/lib/postgresql/$VERSION/bin/pg_config
			fi
			;;
		*)
			VERSION=$(major_of "$PG_CONFIG")
			[ -n "$VERSION" ] || VERSION=$(expr "$PG_CONFIG" : '/usr/lib/postgresql/\([0-9]*\)/bin/pg_config$') ||
				stop "PG_CONFIG=$PG_CONFIG is not a pg_config that runs"
			;;
	esac
	[ "$VERSION" -ge 15 ] || stop "kpxrec needs PostgreSQL 15 or later, this is $VERSION. Later ones for this release; as root, run:
  apt-get install -y postgresql-common && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y && apt-get install -y postgresql-17
and then make again"
}

# need FILE PACKAGE: adds a package unless its file is there. A server that is not the
# distribution's cannot be completed by packages.
need() {
	[ -e "$1" ] && return
	case $PG_CONFIG in
		/usr/lib/postgresql/"$VERSION"/bin/pg_config | /usr/bin/pg_config) NEED="$NEED $2" ;;
		*) stop "the server of PG_CONFIG=$PG_CONFIG lacks $1 (Debian: package $2)" ;;
	esac
}

# want STEP PACKAGE: what one test uses that is skipped without it.
want() { [[ "$1" =~ ${ONLY:-} ]] && WANT="$WANT $2" || true; }

need_program() { command -v "$1" >/dev/null || NEED="$NEED $2"; }

# The installed one's, or that of the distribution.
clang_version() {
	if command -v clang >/dev/null; then
		clang -dumpversion | cut -d. -f1
	else
		apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1
	fi
}

# Sets share as well.
missing_server() {
	local include bin
	share=/usr/share/postgresql/$VERSION include=/usr/include/postgresql/$VERSION/server bin=/usr/lib/postgresql/$VERSION/bin
	if [ -x "$PG_CONFIG" ]; then
		share=$("$PG_CONFIG" --sharedir) include=$("$PG_CONFIG" --includedir-server) bin=$("$PG_CONFIG" --bindir)
	fi
	need "$bin/initdb" "postgresql-$VERSION"
	need "$include/postgres.h" "postgresql-server-dev-$VERSION"
}

missing_packages() {
	local share
	NEED= WANT=
	if [ "$task" = lint ]; then
		need_program clang-format clang-format
		need_program cppcheck cppcheck
		return
	fi
	[[ $task = @(fuzz|coverage) ]] || missing_server
	need_program gcc gcc
	[ -f "$BLAS_LIBRARY" ] && [ -f "$BLAS_INCLUDE/cblas.h" ] || NEED="$NEED libopenblas-serial-dev"
	[ "$task" != coverage ] || need_program gcovr gcovr
	if [[ $task = @(fuzz|check-long) ]]; then
		need_program clang clang
		ls "$(clang -print-runtime-dir 2>/dev/null)"/libclang_rt.fuzzer*.a >/dev/null 2>&1 || NEED="$NEED libclang-rt-$(clang_version)-dev"
	fi
	if [ "$task" = check-long ]; then
		need_program sqlsmith sqlsmith
		need_program valgrind valgrind
	fi
	if [[ $task = check* ]]; then
		need "$share/extension/pgtap.control" "postgresql-$VERSION-pgtap"
		need_program pg_prove libtap-parser-sourcehandler-pgtap-perl
		perl -MIPC::Run -e1 2>/dev/null || NEED="$NEED libipc-run-perl"
		need_program clang clang
		command -v chromium >/dev/null || want 030_report.pl chromium
		command -v xmllint >/dev/null || want 030_report.pl libxml2-utils
		[ "$PG_CONFIG" != "/usr/lib/postgresql/$VERSION/bin/pg_config" ] || [ -e "$("$PG_CONFIG" --pkglibdir 2>/dev/null)/pg_cron.so" ] || want 024_job_cron.pl "postgresql-$VERSION-cron"
	fi
}

# A machine just started is often upgrading itself: wait for the lock.
apt() { $SUDO env -u TMPDIR DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@" >>"$APT_LOG" 2>&1; }

# Debian makes and starts a cluster when a server is installed; we neither need nor want one,
# and put the setting back as it was.
without_main_cluster() {
	local conf=/etc/postgresql-common/createcluster.conf
	$SUDO mkdir -p /etc/postgresql-common
	[ ! -e $conf ] || $SUDO mv $conf $conf.kpxrec
	echo "create_main_cluster = false" | $SUDO tee $conf >/dev/null
	"$@"
	local status=$?
	if [ -e $conf.kpxrec ]; then
		$SUDO mv $conf.kpxrec $conf
	elif [ -e $conf.ucf-dist ]; then
		$SUDO mv $conf.ucf-dist $conf
	elif [ ! -e /usr/share/postgresql-common ]; then
		$SUDO rm $conf
	fi
	return $status
}

install_packages() {
	local line="apt-get update && apt-get install -y$NEED"
	command -v apt-get >/dev/null || stop "kpxrec needs what Debian calls$NEED; install that with your package manager"
	SUDO=
	if [ "$(id -u)" != 0 ]; then
		if sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null && echo "kpxrec needs packages:$NEED" && sudo -v; }; then
			SUDO=sudo
		else
			stop "kpxrec needs packages. As root, run:
  $line
and then make again"
		fi
	fi
	echo "installing$NEED (a minute or two)"
	APT_LOG=$RUN_DIR/apt.log
	# stale or empty package lists: read them and try again
	without_main_cluster apt install $NEED || { apt update; without_main_cluster apt install $NEED; } ||
		{ tail -20 "$APT_LOG"; stop "could not install the packages; as root, run:
  $line"; }
}

install_wanted() {
	local package
	command -v apt-get >/dev/null || return 0
	SUDO=
	[ "$(id -u)" = 0 ] || { sudo -n true 2>/dev/null && SUDO=sudo; } || return 0
	APT_LOG=$RUN_DIR/apt.log
	for package in $WANT; do
		echo "installing $package"
		without_main_cluster apt install --no-install-recommends "$package" || echo "$package could not be installed: its test is skipped"
	done
}

ensure_packages() {
	[[ $task = @(lint|fuzz|coverage) ]] || choose_server
	missing_packages
	if [ -n "$NEED" ]; then
		install_packages
		missing_packages
		[ -z "$NEED" ] || stop "after installing, still missing:$NEED"
	fi
	[ -z "$WANT" ] || install_wanted
}
