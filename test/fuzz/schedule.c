/*
 * schedule.c
 *	  Any schedule, last slot and clock, in a zone with any changes of the clocks: due times that make sense.
 */
#include "fuzz.h"

#include "core/schedule.h"

/* Offsets from UTC before and after one change, within a day as those of the server's zones. */
typedef struct Zone
{
	int64_t change;
	int64_t before;
	int64_t after;
} Zone;

static int64_t
offset(const void *data, int64_t instant)
{
	const Zone *zone = data;

	return instant < zone->change ? zone->before : zone->after;
}

static int64_t
time_of_day(FuzzInput *input)
{
	return (int64_t) ((uint64_t) fuzz_number(input) % (uint64_t) KPX_DAY);
}

/* Instants of the server: 4713 BC to 294276. */
static int64_t
instant(FuzzInput *input)
{
	const int64_t least = INT64_C(-211813488000000000);
	const int64_t most = INT64_C(9223371331200000000);
	int64_t at = fuzz_number(input);

	return at < least ? least : at > most - 1 ? most - 1
											  : at;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	FuzzInput input = {bytes, length};
	uint8_t has = fuzz_byte(&input);
	Zone zone = {.change = instant(&input), .before = (int8_t) fuzz_byte(&input) * 7 * KPX_MINUTE, .after = (int8_t) fuzz_byte(&input) * 7 * KPX_MINUTE};
	KpxSchedule schedule = {.months = has & 1 ? fuzz_number(&input) : 0, .days = has & 2 ? fuzz_number(&input) : 0};
	int64_t last;
	int64_t now;
	KpxDue due;

	schedule.microseconds = has & 4 ? fuzz_number(&input) : 0;
	schedule.anchor = fuzz_number(&input);
	schedule.opens = has & 8 ? time_of_day(&input) : -1;
	schedule.closes = has & 8 ? time_of_day(&input) : -1;
	schedule.delay = has & 16 ? time_of_day(&input) : 0;
	schedule.catch_up = has & 32;
	schedule.zone = (KpxZone){offset, &zone};
	last = instant(&input);
	now = instant(&input);
	if (kpx_schedule_next(&schedule, has & 64, last, now, &due) != KPX_OK)
		return 0;
	/* a start that is due is for a slot that has passed; one that is not lies ahead */
	FUZZ_CHECK(due.start > now || due.slot <= now);
	FUZZ_CHECK(due.start >= due.slot);
	if ((has & 64) && !due.clock_was_wrong)
		FUZZ_CHECK(due.slot > last);
	return 0;
}
