/*
 * schedule.c
 *	  When a job is due: a function of the schedule, the last slot and the time it is given.
 *
 * Dates are days since 2000-01-01 in the proleptic Gregorian calendar, converted as in Hinnant,
 * "chrono-compatible low-level date algorithms".
 */
#include "schedule.h"

/* ------------------------------------------------------------ calendar */

#define EPOCH INT64_C(730425) /* 2000-01-01, counted from 0000-03-01 */

typedef struct Date
{
	int64_t year;
	int64_t month; /* 1..12 */
	int64_t day; /* 1..31 */
} Date;

static int64_t
floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t
to_days(Date date)
{
	int64_t year = date.year - (date.month <= 2);
	int64_t era = floor_div(year, 400);
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH;
}

static Date
to_date(int64_t days)
{
	int64_t from_march = days + EPOCH;
	int64_t era = floor_div(from_march, 146097);
	int64_t day_of_era = from_march - era * 146097;
	int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
	int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * day_of_year + 2) / 153;

	return (Date){year_of_era + era * 400 + (month >= 10), month < 10 ? month + 3 : month - 9,
				  day_of_year - (153 * month + 2) / 5 + 1};
}

/* A month's day that it does not have is its last. */
static int64_t
add_months(int64_t days, int64_t months)
{
	Date date = to_date(days);
	int64_t month = date.year * 12 + date.month - 1 + months;
	int64_t first;
	int64_t length;

	date.year = floor_div(month, 12);
	date.month = month - date.year * 12 + 1;
	first = to_days((Date){date.year, date.month, 1});
	length = to_days(date.month == 12 ? (Date){date.year + 1, 1, 1} : (Date){date.year, date.month + 1, 1}) - first;
	return first + (date.day <= length ? date.day : length) - 1;
}

/* ------------------------------------------------------------ zones */

static int64_t
to_local(KpxZone zone, int64_t instant)
{
	return instant + zone.offset(zone.zone, instant);
}

/* Offsets a day before and after bracket any one change of the clocks. */
static int64_t
to_instant(KpxZone zone, int64_t local)
{
	int64_t before = zone.offset(zone.zone, local - KPX_DAY);
	int64_t after = zone.offset(zone.zone, local + KPX_DAY);

	/* The first of two, and the time before the change for one that is skipped. */
	if (to_local(zone, local - before) == local || to_local(zone, local - after) != local)
		return local - before;
	return local - after;
}

int64_t
kpx_time_of_day_after(KpxZone zone, int64_t time_of_day, int64_t now)
{
	int64_t day = floor_div(to_local(zone, now), KPX_DAY) - 1;
	int64_t instant;

	/* Days without this time, or with it twice: look from the day before on. */
	while ((instant = to_instant(zone, day * KPX_DAY + time_of_day)) < now)
		day++;
	return instant;
}

/* ------------------------------------------------------------ slots */

static int64_t
slot(const KpxSchedule *s, int64_t k)
{
	int64_t local = to_local(s->zone, s->anchor);
	int64_t day = floor_div(local, KPX_DAY);
	int64_t time_of_day = local - day * KPX_DAY;

	if (k == 0 || (s->months == 0 && s->days == 0))
		return s->anchor + k * s->microseconds + s->delay;
	day = add_months(day, k * s->months) + k * s->days;
	return to_instant(s->zone, day * KPX_DAY + time_of_day) + k * s->microseconds + s->delay;
}

/* About how long a period is, never longer than the longest there is by more than a day. */
static int64_t
period(const KpxSchedule *s)
{
	return s->months * 31 * KPX_DAY + s->days * KPX_DAY + s->microseconds;
}

/* The first slot after an instant: slots increase, so that a guess is only to be mended. */
static int64_t
first_after(const KpxSchedule *s, int64_t instant)
{
	int64_t k = (instant - s->delay - s->anchor) / period(s) - 1;

	if (k < 0)
		k = 0;
	while (slot(s, k) <= instant)
		k++;
	while (k > 0 && slot(s, k - 1) > instant)
		k--;
	return k;
}

/* The instant itself when a run may start then, else when the window next opens. */
static int64_t
when_open(const KpxSchedule *s, int64_t instant)
{
	int64_t local;
	int64_t time_of_day;
	bool open;

	if (s->opens < 0 || s->closes < 0)
		return instant;
	local = to_local(s->zone, instant);
	time_of_day = local - floor_div(local, KPX_DAY) * KPX_DAY;
	open = s->opens <= s->closes ? time_of_day >= s->opens && time_of_day < s->closes
								 : time_of_day >= s->opens || time_of_day < s->closes;
	return open ? instant : kpx_time_of_day_after(s->zone, s->opens, instant);
}

static bool
is_valid(const KpxSchedule *s)
{
	return s->months >= 0 && s->days >= 0 && s->microseconds >= 0 && s->months <= KPX_SCHEDULE_MONTHS &&
		   s->days <= KPX_SCHEDULE_DAYS && s->microseconds <= KPX_SCHEDULE_DAYS * KPX_DAY && s->months + s->days + s->microseconds > 0 &&
		   s->delay >= 0 && s->delay <= KPX_SCHEDULE_DAYS * KPX_DAY && s->anchor > -10 * KPX_SCHEDULE_DAYS * KPX_DAY &&
		   s->anchor < 10 * KPX_SCHEDULE_DAYS * KPX_DAY;
}

KpxStatus
kpx_schedule_next(const KpxSchedule *s, bool started, int64_t last, int64_t now, KpxDue *due)
{
	int64_t k;
	int64_t newest;

	if (!is_valid(s))
		return KPX_BAD_ARGUMENT;
	due->clock_was_wrong = started && last > now && last - now > KPX_DAY + period(s);
	if (due->clock_was_wrong)
		last = now;
	k = started ? first_after(s, last) : 0;
	due->missed = 0;
	due->slot = slot(s, k);
	if (due->slot <= now)
	{
		/* One run stands for all slots that have passed. */
		newest = first_after(s, now) - 1;
		if (!s->catch_up && now - when_open(s, slot(s, newest)) > KPX_SCHEDULE_GRACE)
			newest++;
		due->missed = (uint64_t) (newest - k);
		due->slot = slot(s, newest);
	}
	due->start = when_open(s, due->slot > now ? due->slot : now);
	if (due->start == now && due->slot < now)
		due->start = due->slot;
	return KPX_OK;
}
