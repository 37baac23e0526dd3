/*
 * schedule_test.c
 *	  When jobs are due: changes to daylight saving time, short months, missed slots, clocks that jump.
 */
#include "core/schedule.h"
#include "test.h"

/* A zone is its changes: from an instant on, so many seconds ahead of UTC. */
typedef struct Change
{
	int64_t from;
	int offset;
} Change;

typedef struct Case
{
	const char *what;
	const Change *zone;
	int64_t anchor;
	int months;
	int days;
	int64_t microseconds;
	int64_t opens;
	int64_t closes;
	int64_t delay;
	bool catch_up;
	bool started;
	int64_t last;
	int64_t now;
	int64_t start;
	int64_t slot;
	uint64_t missed;
} Case;

#include "schedule_cases.h"

static int64_t
offset_of(const void *zone, int64_t instant)
{
	const Change *change = zone;

	while (change[1].from <= instant)
		change++;
	return change->offset * KPX_SECOND;
}

static KpxSchedule
schedule_of(const Case *c)
{
	return (KpxSchedule){c->anchor, c->months, c->days, c->microseconds, c->opens, c->closes, c->delay, c->catch_up, {offset_of, c->zone}};
}

static void
test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		KpxSchedule schedule = schedule_of(&cases[i]);
		KpxDue due;

		CHECK(kpx_schedule_next(&schedule, cases[i].started, cases[i].last, cases[i].now, &due) == KPX_OK);
		if (due.start != cases[i].start || due.slot != cases[i].slot || due.missed != cases[i].missed)
		{
			printf("case %zu (%s): start %lld, slot %lld, missed %llu\n", i, cases[i].what, (long long) due.start,
				   (long long) due.slot, (unsigned long long) due.missed);
			CHECK(false);
		}
	}
}

/* Whatever the clock does, a slot that has started never starts again, and none lies before it. */
static void
test_never_twice(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		KpxSchedule schedule = schedule_of(&cases[i]);
		int64_t now = cases[i].anchor;
		int64_t last = now;
		bool started = false;
		KpxDue due;

		for (int step = 0; step < 200; step++)
		{
			now += (int64_t) test_below(i, (uint64_t) step, 26 * 3600) * KPX_SECOND - 2 * KPX_HOUR;
			CHECK(kpx_schedule_next(&schedule, started, last, now, &due) == KPX_OK);
			CHECK(!started || due.slot > last);
			CHECK(due.start >= due.slot);
			if (due.start > now)
				continue;
			last = due.slot;
			started = true;
		}
	}
}

static void
test_arguments(void)
{
	KpxSchedule good = {0, 0, 1, 0, -1, -1, 0, true, {offset_of, utc}};
	KpxSchedule bad;
	KpxDue due;

	CHECK(kpx_schedule_next(&good, false, 0, 0, &due) == KPX_OK);
	bad = good;
	bad.days = 0;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad.days = -1;
	bad.months = 1;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.days = KPX_SCHEDULE_DAYS + 1;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.months = INT64_MAX;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.microseconds = INT64_MAX;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.anchor = INT64_MIN;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad.anchor = INT64_MAX;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.months = -1;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.microseconds = -1;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad = good;
	bad.delay = -1;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
	bad.delay = INT64_MAX;
	CHECK(kpx_schedule_next(&bad, false, 0, 0, &due) == KPX_BAD_ARGUMENT);
}

int
main(void)
{
	test_cases();
	test_never_twice();
	test_arguments();
	return test_done();
}
