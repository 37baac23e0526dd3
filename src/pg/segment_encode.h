/*
 * segment_encode.h
 *	  Between the files that encode users: segment_rows -> segment_survey -> segment_encode.
 *
 * A row of raw values has one float a feature, NaN where nothing is known; columns are those
 * of the attributes' sources.
 */
#ifndef KPX_PG_SEGMENT_ENCODE_H
#define KPX_PG_SEGMENT_ENCODE_H

#include "segment.h"
#include "algorithm.h"
#include "history.h"

#include "utils/hsearch.h"

#define KPX_FEATURE_KEY 256 /* bytes of a name that can be a feature */
/* Groups of features that belong together count as about so many numbers. */
#define KPX_GROUP_WORTH 4.0

/* ------------------------------------------------------------ segment_encode.c */

/* What the names of categories among a profile's features begin with. */
extern const char kpx_category_prefix[sizeof("category:")];
extern bool kpx_category_name(KpxName name);
/* Sum of the weights of all categories of a profile. */
extern double kpx_category_weight(const KpxProfile *profile);

/* Each writes the raw values of the features of its kind. */
extern void kpx_encode_profile(const KpxFeature *features, int n, const KpxProfile *profile, float *raw);
extern void kpx_encode_attributes(const KpxFeature *features, int n, const KpxAttributeColumn *columns, int n_columns,
								  const KpxAttribute *attributes, float *raw);
/* What a user without a row in the source of the attributes has. */
extern void kpx_encode_no_attributes(const KpxFeature *features, int n, const KpxAttributeColumn *columns, int n_columns, float *raw);
/* The vector of the user's history over these modules, made one long; fades the history. */
extern void kpx_encode_factors(const KpxFeature *features, int n, const KpxModel *model, KpxHistory *history, KpxScratch *scratch, float *raw);

/* Raw to encoded values, in place. */
extern void kpx_encode_standardise(const KpxFeature *features, int n, float *raw);

/* ------------------------------------------------------------ segment_survey.c */

typedef struct KpxSurvey
{
	HTAB *tallies;
	uint64 users;
	uint64 categories;
	const KpxAttributes *columns;
	uint64 *levels; /* [columns]: different levels seen */
	uint64 *present; /* [columns]: users with a value */
	const KpxEncoded *data; /* users with events */
} KpxSurvey;

extern HTAB *kpx_survey_tallies(void);

/* Callbacks of reading; state is the KpxSurvey. */
extern void kpx_survey_profile(void *state, KpxId user, const KpxProfile *profile);
extern void kpx_survey_attributes(void *state, KpxId user, int first, int n, const KpxAttribute *attributes);

/* Lists the features of what was counted in data->features. 54000. */
extern void kpx_survey_features(KpxEncoded *data, KpxSurvey *survey, KpxModule **modules, int n_modules, KpxModel *model,
								const KpxClusterParams *params);

/* Row of a user; -1: none. */
extern int64 kpx_encoded_find(const KpxEncoded *data, KpxId user);

#endif /* KPX_PG_SEGMENT_ENCODE_H */
