/*
 * profile.h
 *	  Profiles as values, and reading those of users from the registered sources.
 *
 * Stable, for other rooms: KpxProfileSink, kpx_profiles_read, kpx_profile_of_user,
 * KpxAttributes, kpx_attributes_read, kpx_profile_modules, kpx_half_life_argument. What a KpxProfile holds is in core/profile.h.
 */
#ifndef KPX_PG_PROFILE_H
#define KPX_PG_PROFILE_H

#include "kpxrec.h"
#include "consent.h"
#include "ids.h"
#include "registry.h"

#include "core/profile.h"
#include "core/sketch.h"

/* ------------------------------------------------------------ values */

/*
 * A kpx_profile value decoded, in the current memory context; names point into a detoasted
 * copy there. Errors: XX001 when the bytes are no profile, 0A000 when of a later version.
 */
extern KpxProfile *kpx_profile_from_datum(Datum value);
extern Datum kpx_profile_to_datum(const KpxProfile *profile);
/* Any bytes; NULL when they are no profile (unsupported says whether of a later version). */
extern KpxProfile *kpx_profile_from_bytes(const char *bytes, size_t length, bool *unsupported);
/* Arrays for the counts of profile. */
extern void kpx_profile_provide(KpxProfile *profile);

/* A sketch in context; grown by kpx_sketch_grow whenever a call returned KPX_MORE. */
extern KpxSketch *kpx_sketch_create(MemoryContext context, int64 half_life);
extern KpxSketch *kpx_sketch_grow(MemoryContext context, KpxSketch *sketch);
/* Merges profile, growing; errors 22023 (half-lives differ), 54000 (limits). */
extern KpxSketch *kpx_sketch_fuse(MemoryContext context, KpxSketch *sketch, const KpxProfile *profile);
/* What the sketch holds, with at most limit interests a module; names point into it. */
extern KpxProfile *kpx_sketch_finish(const KpxSketch *sketch, uint32 limit);

/* Microseconds of a half-life argument; 22023 out of range (1 minute to 100 years). */
extern int64 kpx_half_life(const Interval *interval);

/* A profile as JSON, appended to out. */
extern void kpx_profile_to_json(StringInfo out, const KpxProfile *profile);

/* ------------------------------------------------------------ reading users */

/* Gets one user at a time; what the arguments point to is gone after the call. */
typedef void (*KpxProfileSink)(void *state, KpxId user, const KpxProfile *profile);

/*
 * Profiles of all users with events in these modules, in order of their ids (of the kind
 * kpx_user_kind returns), or of one (user not NULL), handed to sink as they come; returns how
 * many. One query as the current user, parallel where the server allows it; memory does not
 * grow with the number of users but by the executor's own (work_mem). features: also
 * item:module/id and category:x for each event; otherwise behaviour only. half_life in
 * microseconds, 0 = none. Of modules that consents do not allow for target (NULL: for all of
 * these) nothing is in a profile; without any, a user is passed over. Errors: those of the
 * relations, 22023, 22008, 42804.
 */
extern uint64 kpx_profiles_read(KpxModule **modules, int n_modules, KpxConsents *consents, const KpxModule *target, int64 half_life,
								bool features, const KpxId *user, KpxProfileSink sink, void *state);

/* The same for one user, as of now; NULL when there are no events. */
extern KpxProfile *kpx_profile_of_user(KpxModule **modules, int n_modules, int64 half_life, KpxId user);

/* Argument modules text[]; NULL: all whose sources the current user may read, and reads unasked (identity.h). 42704, 22004. */
extern KpxModule **kpx_profile_modules(FunctionCallInfo fcinfo, int argument, int *n);
/* Argument half_life interval, in microseconds; NULL: 0, none. */
extern int64 kpx_half_life_argument(FunctionCallInfo fcinfo, int n);

typedef enum KpxAttributeKind
{
	KPX_ATTRIBUTE_NUMBER, /* numbers; value is it */
	KPX_ATTRIBUTE_BOOLEAN, /* value is 0 or 1 */
	KPX_ATTRIBUTE_DATE, /* date and timestamps; value is days since 2000-01-01 */
	KPX_ATTRIBUTE_CATEGORY /* everything else; text is its output */
} KpxAttributeKind;

/* A column of an attribute source. */
typedef struct KpxAttributeColumn
{
	char *name; /* unique among the sources: source's relation is put before it when not */
	KpxAttributeKind kind;
} KpxAttributeColumn;

/* One user's value in one column. */
typedef struct KpxAttribute
{
	bool missing; /* NULL, or no row of this user, or a number that is not finite */
	double value;
	const char *text; /* its output; of dates and categories only */
} KpxAttribute;

typedef struct KpxAttributes
{
	int n_columns;
	KpxAttributeColumn *columns;
	KpxIdKind user_kind;
} KpxAttributes;

/* Gets one row of an attribute source; first_column: where its columns begin among all. */
typedef void (*KpxAttributeSink)(void *state, KpxId user, int first_column, int n_columns, const KpxAttribute *attributes);

/*
 * The columns of all registered attribute sources of this kind of user id that the current
 * user may read, then their rows one at a time (source after source, in order of the user's
 * id), or those of one user. A user with several rows in one source: the sink is called
 * for each. sink NULL: only the columns. Memory as above.
 */
extern KpxAttributes *kpx_attributes_read(KpxIdKind user_kind, const KpxId *user, KpxAttributeSink sink, void *state);

#endif /* KPX_PG_PROFILE_H */
