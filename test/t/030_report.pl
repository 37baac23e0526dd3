# kpx_report in a browser: it is drawn in both languages, schemes and widths, complains of nothing, runs nothing
# and is nowhere wider than the window. Needs Debian's chromium (installed by make check where it can be had).
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Compress::Zlib ();
use Cwd qw(abs_path);
use IPC::Run ();
use KpxTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($chromium) = grep { -x $_ } map { ("$_/chromium", "$_/chromium-browser") } '/usr/bin', '/usr/local/bin';
plan skip_all => 'no chromium: apt-get install chromium' unless $chromium;

my $dir = abs_path(PostgreSQL::Test::Utils::tempdir());
my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->start;
platform($node, 100, 50, 6);
my $evil = q{<script>document.title="run"</script>" onload="alert(1)};
$node->safe_psql('postgres', qq{
	ALTER TABLE app.courses ADD title text; UPDATE app.courses SET title = '$evil' || id;
	SELECT kpx_add_module('$evil', 'app.courses', 'id', title => 'title'), kpx_add_events('$evil', 'app.enrolments', 'view', 'user_id', 'course_id');
	SELECT kpx_train(ARRAY['courses', 'videos', '$evil'], params => '{"factors": 8}');
	SELECT kpx_mine_rules('$evil', 5, 0.1, 2), kpx_cluster('$evil', ARRAY['courses', 'videos'], 4), kpx_set_policy(params => '{"lambda": 0.5}', comment => '$evil');
	SELECT kpx_create_recommendation_view('courses', 3, '"an exceedingly long name of a view that has no place to break"');
	SELECT count(*) FROM generate_series(1, 30) u, kpx_recommend_slate(u, ARRAY['courses', 'videos', '$evil'], 5, 'videos', log => true);
	SELECT kpx_feedback(i.slate_id, i.item_id, 'click', module => m.name) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE i.rank = 1});

sub slurp { my $f = shift; open(my $h, '<:raw', $f) or die "$f: $!"; local $/; return <$h> }

# Chromium with a home of its own; returns what it printed. Scheme: 0 dark, 1 light.
sub browse
{
	my ($scheme, $size, @arguments) = @_;
	my ($out, $err) = ('', '');
	local $ENV{HOME} = $dir;
	eval {
		IPC::Run::run([ $chromium, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars', '--enable-logging=stderr',
				"--user-data-dir=$dir/chromium", "--blink-settings=preferredColorScheme=$scheme", "--window-size=$size", @arguments ],
			'>', \$out, '2>', \$err, IPC::Run::timeout(120));
	};
	return ($out, $err . ($@ // ''));
}

# A window of Chromium is not narrower than 500 pixels: the page goes into a frame of the width.
sub framed
{
	my ($name, $page, $width, $height) = @_;
	my $script = q{onload = () => { const d = document.querySelector('iframe').contentDocument.documentElement; document.body.dataset.wide = d.scrollWidth - d.clientWidth; document.body.dataset.high = d.scrollHeight; document.body.dataset.title = d.ownerDocument.title }};
	(my $source = $page) =~ s/&/&amp;/g;
	$source =~ s/"/&quot;/g;
	open(my $h, '>:raw', "$dir/$name") or die "$name: $!";
	print $h qq{<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><iframe style="border:0;display:block;width:${width}px;height:${height}px" srcdoc="$source"></iframe><script>$script</script>};
	close $h;
}

# Pixels of a PNG of 8 bits a channel, without filters left (RFC 2083).
sub colours
{
	my ($png) = @_;
	my ($width, $height, $bits, $type, $data, $at) = (0, 0, 0, 0, '', 8);
	while ($at < length $png)
	{
		my ($length, $name) = unpack('Na4', substr($png, $at, 8));
		($width, $height, $bits, $type) = unpack('NNCC', substr($png, $at + 8, 10)) if $name eq 'IHDR';
		$data .= substr($png, $at + 8, $length) if $name eq 'IDAT';
		$at += 12 + $length;
	}
	die "$bits bits, type $type" unless $bits == 8 && ($type == 2 || $type == 6);
	my $channels = $type == 2 ? 3 : 4;
	my $line = $width * $channels;
	my $raw = Compress::Zlib::uncompress($data);
	my @before = (0) x $line;
	my %count;
	for my $y (0 .. $height - 1)
	{
		my ($filter, @row) = unpack('C*', substr($raw, $y * ($line + 1), $line + 1));
		for my $x (0 .. $line - 1)
		{
			my $a = $x >= $channels ? $row[$x - $channels] : 0;
			my $c = $x >= $channels ? $before[$x - $channels] : 0;
			my ($b, $add) = ($before[$x], 0);
			if ($filter == 1) { $add = $a }
			elsif ($filter == 2) { $add = $b }
			elsif ($filter == 3) { $add = int(($a + $b) / 2) }
			elsif ($filter == 4)
			{
				my $p = $a + $b - $c;
				my ($pa, $pb, $pc) = (abs($p - $a), abs($p - $b), abs($p - $c));
				$add = $pa <= $pb && $pa <= $pc ? $a : $pb <= $pc ? $b : $c;
			}
			$row[$x] = ($row[$x] + $add) & 255;
		}
		$count{ join(',', @row[ $_ * $channels .. $_ * $channels + 2 ]) }++ for grep { $_ % 4 == 0 } 0 .. $width - 1;
		@before = @row;
	}
	return \%count;
}

# The most frequent colour is the ground; text and lines are on it.
sub drawn
{
	my ($file, $what, $dark) = @_;
	my $count = colours(slurp($file));
	my @sorted = sort { $count->{$b} <=> $count->{$a} } keys %$count;
	my $all = 0;
	$all += $_ for values %$count;
	my $other = 1 - $count->{ $sorted[0] } / $all;
	my ($r) = split /,/, $sorted[0];
	cmp_ok(scalar(@sorted), '>', 30, "$what: many colours");
	cmp_ok($other, '>', 0.01, "$what: there is something on it");
	ok($dark ? $r < 64 : $r > 192, "$what: the ground is " . ($dark ? 'dark' : 'light'));
}

for my $language ('en', 'zh')
{
	my $page = $node->safe_psql('postgres', "SELECT kpx_report(language => '$language')");
	open(my $h, '>:raw', "$dir/$language.html") or die $!;
	print $h $page;
	close $h;
	for my $width (1280, 400)
	{
		for my $scheme (1, 0)
		{
			my $what = "$language, $width pixels, " . ($scheme ? 'light' : 'dark');
			framed('page.html', $page, $width, 700);
			unlink "$dir/shot.png";
			my ($dom, $err) = browse($scheme, "$width,700", '--dump-dom', "--screenshot=$dir/shot.png", "file://$dir/page.html");
			my ($wide) = $dom =~ /data-wide="(-?\d+)"/;
			my ($title) = $dom =~ /data-title="([^"]*)"/;
			is($wide, 0, "$what: no wider than the window") or diag($err);
			like($title // '', qr/kpxrec/, "$what: no script has run");
			unlike($err, qr/CONSOLE/, "$what: nothing on the console");
			drawn("$dir/shot.png", $what, !$scheme);
		}
	}
	if (-x '/usr/bin/xmllint')
	{
		my ($out, $err) = ('', '');
		IPC::Run::run([ '/usr/bin/xmllint', '--html', '--noout', "$dir/$language.html" ], '>', \$out, '2>', \$err);
		# its HTML is older than ours: elements that it does not know are no error
		is_deeply([ grep { /error/ && !/Tag (header|main|nav|section|footer|bdi|time|figure|figcaption|details|summary|svg|rect|line|text|polyline|circle|desc) invalid/ } split /\n/, $err ],
			[], "$language: well-formed");
	}
}
$node->stop;
done_testing();
