# Without our background worker pg_cron does the same job, by the line that kpx_schedule shows.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $libdir = `pg_config --pkglibdir`;
chomp $libdir;
plan skip_all => 'pg_cron is not installed' unless -e "$libdir/pg_cron.so";

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\ncron.database_name = 'postgres'\ncron.use_background_workers = on\n");
$node->start;
job_platform($node, 300, 100, 8);
$node->safe_psql('postgres', 'CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO app');
my ($ret, $out, $err) = $node->psql('postgres', q{SELECT kpx_schedule('nightly', 'train', '{"modules": ["courses", "videos"], "params": {"factors": 8}}', every => '1 minute')}, extra_params => [ '-U', 'app' ]);
like($err, qr/ERROR:  jobs need the background worker/, 'refused');
my ($line) = $err =~ /pg_cron do it: (SELECT cron\.schedule.*;)$/m;
ok($line, 'the line for pg_cron');
diag($line);
as_app($node, $line);
$node->poll_query_until('postgres', "SELECT count(*) >= 1 FROM cron.job_run_details WHERE status = 'succeeded'") or die $node->safe_psql('postgres', 'TABLE cron.job_run_details');
is($node->safe_psql('postgres', "SELECT name, owner, active_for FROM kpx_models ORDER BY model LIMIT 1"), 'courses+videos|app|{courses,videos}', 'pg_cron has trained, as the owner');
$node->stop;
done_testing();
