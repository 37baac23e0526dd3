/*
 * schedule.h
 *	  When a job is due: a function of the schedule, the last slot and the time it is given.
 *
 * Nothing here looks at a clock or at a table of time zones. Instants are microseconds since
 * 2000-01-01 00:00 UTC; a zone is a function that says how far local time is ahead of UTC at
 * an instant. Slot k of a schedule is the anchor, k periods on: months and days are added to
 * the anchor's local date, so that a daily job keeps its time of day over changes to daylight
 * saving time and a monthly one its day of the month (or the month's last); microseconds are
 * added to the instant. A local time that a change skips is taken as if the change had not
 * been: 02:30 of a night without 02:00 to 03:00 is 03:30. One that happens twice is the first.
 */
#ifndef KPX_SCHEDULE_H
#define KPX_SCHEDULE_H

#include "matrix.h"

#define KPX_SECOND INT64_C(1000000)
#define KPX_MINUTE (60 * KPX_SECOND)
#define KPX_HOUR (60 * KPX_MINUTE)
#define KPX_DAY (24 * KPX_HOUR)
/* A slot that is this much behind was missed, not merely picked up late. */
#define KPX_SCHEDULE_GRACE (60 * KPX_SECOND)
/* Longest period, and furthest anchor: what keeps all sums below inside 64 bits. */
#define KPX_SCHEDULE_DAYS INT64_C(36525)
#define KPX_SCHEDULE_MONTHS INT64_C(1200)

/* Microseconds that local time is ahead of UTC at an instant. */
typedef int64_t (*KpxZoneOffset)(const void *zone, int64_t instant);

typedef struct KpxZone
{
	KpxZoneOffset offset;
	const void *zone;
} KpxZone;

typedef struct KpxSchedule
{
	int64_t anchor; /* slot 0 */
	int64_t months; /* the period; none negative, not all zero */
	int64_t days;
	int64_t microseconds;
	int64_t opens; /* a run may start between these local times of day; opens > closes spans midnight; -1: at any time */
	int64_t closes;
	int64_t delay; /* added to every slot: jitter */
	bool catch_up; /* after missed slots run once, now; else wait for the next */
	KpxZone zone;
} KpxSchedule;

typedef struct KpxDue
{
	int64_t start; /* at or before now: due */
	int64_t slot; /* the slot it is for: the caller's last, once it has started */
	uint64_t missed; /* slots after last, before this one, that never ran */
	bool clock_was_wrong; /* last lies too far ahead of now: the caller's last is to become now */
} KpxDue;

/*
 * The next start after the run for slot last (started: false = there was none), seen at now.
 * A last that lies more than a day and a period ahead of now is taken to be a clock's mistake.
 * KPX_BAD_ARGUMENT: a period of nothing, negative, or beyond the limits above.
 */
extern KpxStatus kpx_schedule_next(const KpxSchedule *schedule, bool started, int64_t last, int64_t now, KpxDue *due);

/* The first instant at or after now at which it is this time of day (microseconds) in the zone. */
extern int64_t kpx_time_of_day_after(KpxZone zone, int64_t time_of_day, int64_t now);

#endif /* KPX_SCHEDULE_H */
