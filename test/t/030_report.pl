# kpx_report in a browser, with something in every section: it is drawn in both languages, schemes and widths, and printed;
# it complains of nothing, runs nothing, is nowhere wider than the window, and can be read: contrasts are those of WCAG 2.1
# AA. Needs Debian's chromium (installed by make check where it can be had). KEEP_SHOTS=directory keeps pictures of whole pages.
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
my $node = job_node('node');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->start;
platform($node, 200, 50, 6);
my $evil = q{<script>document.title="run"</script>" onload="alert(1)};

# All that a platform comes to have. Users change their ways after the training, so that there is drift.
$node->safe_psql('postgres', qq{
	CREATE ROLE worker LOGIN; SELECT kpx_grant('worker', 'train');
	SELECT kpx_drop_events(source_id) FROM kpx_event_sources;
	ALTER TABLE app.enrolments ADD at timestamptz, ADD paid float8 DEFAULT 5; ALTER TABLE app.plays ADD at timestamptz;
	UPDATE app.enrolments SET at = now() - interval '40 days' - interval '1 hour' * (user_id * 31 % 600); UPDATE app.plays SET at = now() - interval '40 days' - interval '1 hour' * (user_id * 17 % 600);
	ALTER TABLE app.courses ADD title text; UPDATE app.courses SET title = '$evil' || id;
	SELECT kpx_add_module('$evil', 'app.courses', 'id', title => 'title'), kpx_add_events('$evil', 'app.enrolments', 'view', 'user_id', 'course_id', occurred_at => 'at'),
		kpx_add_events('courses', 'app.enrolments', 'purchase', 'user_id', 'course_id', occurred_at => 'at', value => 'paid'), kpx_add_events('videos', 'app.plays', 'view', 'user_id', 'video_id', occurred_at => 'at');
	SELECT kpx_train(ARRAY['courses', 'videos', '$evil'], params => '{"factors": 8}');
	UPDATE kpx.model SET created_at = now() - interval '39 days';
	INSERT INTO app.enrolments (user_id, course_id, at) SELECT u, 1 + u % 3, now() - interval '1 hour' * (u % 600) FROM generate_series(1, 200) u;
	INSERT INTO app.courses SELECT 51, '$evil new'; INSERT INTO app.enrolments (user_id, course_id, at) SELECT u, 51, now() - interval '1 hour' * (u % 500) FROM generate_series(1, 150) u;
	SELECT model AS challenger FROM kpx_train(ARRAY['courses', 'videos'], 'itemknn', name => '$evil', activate => false) \\gset
	SELECT kpx_set_traffic(:challenger, 0.4);
	SELECT count(*) FROM kpx_evaluate_model(1) a, kpx_evaluate_model(:challenger, split => 'last_by_time') b;
	SELECT count(*) FROM kpx_tune(ARRAY['courses'], ARRAY['itemknn', 'ease'], 2);
	SELECT kpx_mine_rules('$evil', 5, 0.1, 2), kpx_cluster('$evil', ARRAY['courses', 'videos'], 4), kpx_set_policy(params => '{"lambda": 0.5}', comment => '$evil');
	SELECT kpx_create_recommendation_view('courses', 3, '"an exceedingly long name of a view that has no place to break"');
	SELECT count(*) FROM generate_series(1, 200) u, kpx_recommend_slate(u, ARRAY['courses', 'videos', '$evil'], 5, 'videos', log => true);
	SELECT count(kpx_feedback(i.slate_id, i.item_id, 'click', module => m.name)) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE i.rank <= 1 + i.slate_id % 3;
	SELECT count(kpx_feedback(i.slate_id, i.item_id, 'conversion', 19.9, module => m.name)) FROM kpx.impression i JOIN kpx.module m ON m.id = i.module_id WHERE i.rank = 1 AND i.slate_id % 4 = 0;
	UPDATE kpx.impression SET occurred_at = occurred_at - interval '1 day' * (slate_id % 9) WHERE occurred_at - interval '1 day' * (slate_id % 9) >= date_trunc('month', occurred_at);
	SELECT count(*) FROM kpx_train_ranker(ARRAY['courses', 'videos', '$evil'], params => '{"epochs": 5}');
	SELECT kpx_measure(users => 100);
	SELECT count(*) FROM generate_series(1, 200) u, kpx_recommend(u, 'courses', 10), kpx_similar(1, 'courses', 3)});
# as somebody who may read nothing: one job succeeds, one fails
$node->safe_psql('postgres', qq{SELECT kpx_schedule('$evil', 'attribute', every => '1 second'); SELECT kpx_schedule('fails', 'train', '{"modules": ["courses"]}', every => '1 day', max_retries => 0);
	SELECT kpx_schedule('paused', 'attribute', every => '1 day', at => '04:00'), kpx_pause('paused')}, extra_params => [ '-U', 'worker' ]);
wait_for($node, 'runs of jobs', "SELECT (SELECT count(*) FROM kpx_job_runs WHERE status = 'succeeded') >= 4 AND EXISTS (SELECT FROM kpx_job_runs WHERE status = 'failed')");

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

# What the page is looked at with: how wide it is, and where a contrast is too low. Ratios as WCAG 2.1 defines them, 4.5 for
# text of any size, 3 for what drawings are made of; lines of a grid help the eye and say nothing.
my $look = <<'EOF';
onload = () => {
	const frame = document.querySelector('iframe'), view = frame.contentWindow, page = frame.contentDocument;
	page.querySelectorAll('details').forEach(d => d.open = true);
	const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
	const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
	const numbers = c => c.match(/[\d.]+/g).map(Number);
	const ratio = (a, b) => { const [l, d] = [light(a), light(b)].sort((x, y) => y - x); return (l + 0.05) / (d + 0.05) };
	const ground = e => { for (; e; e = e.parentElement) { const c = numbers(view.getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] > 0) return c } return [255, 255, 255] };
	const low = new Set();
	let texts = 0, shapes = 0;
	const check = (e, colour, least, what) => {
		const c = numbers(colour), r = ratio(c, ground(e));
		if (c.length == 4 && c[3] < 1) low.add(what + ' is transparent');
		if (r < least) low.add(what + ' ' + colour + ' ' + r.toFixed(2));
	};
	for (const e of page.body.querySelectorAll('*')) {
		const style = view.getComputedStyle(e), what = e.tagName + '.' + (e.getAttribute('class') || '');
		const drawn = e.ownerSVGElement && !['title', 'desc', 'svg'].includes(e.tagName);
		if (e.closest('title, desc') || style.display == 'none') continue;
		if ([...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) { texts++; check(e, drawn ? style.fill : style.color, 4.5, what) }
		else if (drawn && e.tagName != 'g' && !e.classList.contains('grid')) {
			shapes++;
			check(e, style.fill == 'none' || e.tagName == 'line' ? style.stroke : style.fill, 3, what);
		}
	}
	const root = page.documentElement, found = document.body.dataset;
	found.low = [...low].join('; '); found.texts = texts; found.shapes = shapes;
	found.empty = [...page.querySelectorAll('section')].filter(s => s.querySelector('.empty')).map(s => s.id).join(' ');
	found.wide = root.scrollWidth - root.clientWidth; found.title = page.title;
	if (frame.dataset.whole) frame.style.height = root.scrollHeight + 'px'; else page.querySelectorAll('details').forEach(d => d.open = false);
}
EOF

# A window of Chromium is not narrower than 500 pixels: the page goes into a frame of the width.
sub framed
{
	my ($page, $width, $height, $whole) = @_;
	(my $source = $page) =~ s/&/&amp;/g;
	$source =~ s/"/&quot;/g;
	open(my $h, '>:raw', "$dir/page.html") or die "page.html: $!";
	print $h qq{<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><iframe style="border:0;display:block;width:${width}px;height:${height}px" data-whole="$whole" srcdoc="$source"></iframe><script>$look</script>};
	close $h;
}

# What the script found, by name.
sub found
{
	my ($dom) = @_;
	my ($body) = $dom =~ /<body([^>]*)>/;
	my %found = ($body // '') =~ /data-(\w+)="([^"]*)"/g;
	return \%found;
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
			framed($page, $width, 700, '');
			unlink "$dir/shot.png";
			my ($dom, $err) = browse($scheme, "$width,700", '--dump-dom', "--screenshot=$dir/shot.png", "file://$dir/page.html");
			my $found = found($dom);
			is($found->{wide}, 0, "$what: no wider than the window, all unfolded") or diag($err);
			like($found->{title} // '', qr/kpxrec/, "$what: no script has run");
			is($found->{empty}, '', "$what: every section has something");
			is($found->{low}, '', "$what: contrasts of text and drawings");
			cmp_ok($found->{texts} // 0, '>', 1000, "$what: of many texts");
			cmp_ok($found->{shapes} // 0, '>', 100, "$what: and of many drawings");
			unlike($err, qr/CONSOLE/, "$what: nothing on the console");
			drawn("$dir/shot.png", $what, !$scheme);
			next unless $ENV{KEEP_SHOTS};
			framed($page, $width, 700, '1');
			browse($scheme, "$width," . ($width > 400 ? 14000 : 24000), "--screenshot=$ENV{KEEP_SHOTS}/$language-$width-$scheme.png", "file://$dir/page.html");
		}
	}

	# on paper: light, whatever the scheme of the screen
	(my $printed = $page) =~ s/\@media print/\@media all/;
	framed($printed, 1000, 700, '');
	my $found = found((browse(0, '1000,700', '--dump-dom', "file://$dir/page.html"))[0]);
	is($found->{low}, '', "$language, printed from a dark screen: contrasts");
	cmp_ok($found->{texts} // 0, '>', 500, "$language, printed: of many texts");
	browse(1, '1280,700', "--print-to-pdf=$dir/page.pdf", '--no-pdf-header-footer', "file://$dir/$language.html");
	like(slurp("$dir/page.pdf"), qr/^%PDF-/, "$language: it can be printed");
	cmp_ok(-s "$dir/page.pdf", '>', 30000, "$language: with something on it");
	if ($ENV{KEEP_SHOTS}) { IPC::Run::run([ 'cp', "$dir/page.pdf", "$ENV{KEEP_SHOTS}/$language.pdf" ]); }
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
