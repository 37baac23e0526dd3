# What was revoked counts from the next statement of another session on, also inside its transaction.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;
platform($node, 100, 50, 6);
$node->safe_psql('postgres', q{
	SELECT kpx_train(ARRAY['courses', 'videos'], params => '{"factors": 8}');
	ALTER DATABASE postgres SET kpxrec.require_consent = on});
my $speak = q{SELECT string_agg(DISTINCT module, ' ' ORDER BY module) FROM kpx_explain(3, 'courses', 4)};

my $other = $node->background_psql('postgres');
is($other->query_safe($speak), 'courses', 'no consent yet');
$node->safe_psql('postgres', q{SELECT kpx_set_consent(3, 'videos', 'courses')});
is($other->query_safe($speak), 'courses videos', 'given');
$node->safe_psql('postgres', q{SELECT kpx_set_consent(3, 'videos', 'courses', allowed => false)});
is($other->query_safe($speak), 'courses', 'revoked');

$other->query_safe('BEGIN');
is($other->query_safe($speak), 'courses', 'in a transaction');
$node->safe_psql('postgres', q{SELECT kpx_set_consent(3, 'videos', 'courses')});
is($other->query_safe($speak), 'courses videos', 'given meanwhile');
$node->safe_psql('postgres', q{SELECT kpx_set_consent(3, 'videos', 'courses', allowed => false)});
is($other->query_safe($speak), 'courses', 'revoked meanwhile');
$node->safe_psql('postgres', q{SELECT kpx_require_consent('videos', 'courses', false)});
is($other->query_safe($speak), 'courses videos', 'a pair that requires none from now on');
$node->safe_psql('postgres', q{SELECT kpx_require_consent('videos', 'courses', NULL)});
is($other->query_safe($speak), 'courses', 'or does again');
$node->safe_psql('postgres', q{SELECT kpx_set_consent(3, 'videos', 'courses'); SELECT kpx_forget_user(3)});
is($other->query_safe($speak), '', 'forgotten: nothing speaks any more');
$other->query_safe('COMMIT');

# an older snapshot of the transaction is no excuse
$node->safe_psql('postgres', q{SELECT kpx_set_consent(4, 'videos', 'courses')});
$speak =~ s/\(3,/(4,/;
$other->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($other->query_safe($speak), 'courses videos', 'at REPEATABLE READ');
$node->safe_psql('postgres', q{SELECT kpx_set_consent(4, 'videos', 'courses', allowed => false)});
is($other->query_safe($speak), 'courses', 'what we keep counts at once, too');
$other->query_safe('COMMIT');
$other->quit;
$node->stop;
done_testing();
