/*
 * job_schedule.c
 *	  The schedule of a job, from its row to what core/schedule.h takes.
 */
#include "job.h"

#include "common/hashfn.h"
#include "datatype/timestamp.h"
#include "pgtime.h"

static int64_t
zone_offset(const void *zone, int64_t instant)
{
	fsec_t fsec;
	int offset;
	struct pg_tm tm;

	/* Out of the server's range nothing is known: UTC. */
	if (timestamp2tm(instant, &offset, &tm, &fsec, NULL, unconstify(pg_tz *, (const pg_tz *) zone)) != 0)
		return 0;
	return -offset * KPX_SECOND;
}

KpxZone
kpx_zone(const char *name)
{
	pg_tz *zone = pg_tzset(name);

	if (zone == NULL || !pg_tz_acceptable(zone))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("time zone \"%s\" is not known", name),
				 errhint("Known ones are listed in pg_timezone_names.")));
	return (KpxZone){zone_offset, zone};
}

static void
bad_interval(const KpxJob *job, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("job \"%s\": \"%s\" must be longer than nothing, with no part negative, and at most a hundred years", job->name, what)));
}

KpxSchedule
kpx_job_schedule(const KpxJob *job)
{
	int64 jitter = job->jitter.month * 30 * KPX_DAY + job->jitter.day * KPX_DAY + job->jitter.time;
	KpxSchedule schedule = {.anchor = job->anchor,
							.months = job->every.month,
							.days = job->every.day,
							.microseconds = job->every.time,
							.opens = job->until >= 0 ? job->at : -1,
							.closes = job->until,
							.catch_up = strcmp(job->catch_up, "once") == 0,
							.zone = kpx_zone(job->time_zone)};
	KpxDue due;

	if (jitter < 0 || job->jitter.month < 0 || job->jitter.day < 0 || jitter > 366 * KPX_DAY)
		bad_interval(job, "jitter");
	if (jitter > 0)
		schedule.delay = (int64) (hash_bytes_uint32_extended((uint32) job->id, 0) % (uint64) jitter);
	if (kpx_schedule_next(&schedule, false, 0, job->anchor, &due) != KPX_OK)
		bad_interval(job, "every");
	return schedule;
}

KpxDue
kpx_job_due(const KpxJob *job, TimestampTz now, bool *retry)
{
	KpxSchedule schedule = kpx_job_schedule(job);
	KpxDue due;

	(void) kpx_schedule_next(&schedule, job->started, job->last_slot, now, &due);
	*retry = job->retry_at != 0 && job->retry_at < due.start;
	if (*retry)
		due = (KpxDue){job->retry_at, job->last_slot, 0, false};
	return due;
}
