/*
 * profile.h
 *	  Profiles with arrays of their own, for the targets that read them.
 */
#ifndef KPX_FUZZ_PROFILE_H
#define KPX_FUZZ_PROFILE_H

#include "fuzz.h"

#include "core/profile.h"

static inline void
fuzz_profile_provide(KpxProfile *p)
{
	p->modules = fuzz_alloc(p->n_modules, sizeof(KpxProfileModule));
	p->kinds = fuzz_alloc(p->n_kinds, sizeof(KpxProfileKind));
	p->features = fuzz_alloc(p->n_features, sizeof(KpxProfileFeature));
	p->minima = fuzz_alloc(p->n_minima, sizeof(uint32_t));
}

static inline void
fuzz_profile_release(KpxProfile *p)
{
	free(p->modules);
	free(p->kinds);
	free(p->features);
	free(p->minima);
}

/* Bytes as kpx_profile_recv and the aggregate's deserialize function take them; false when they are no profile. */
static inline bool
fuzz_profile_receive(const uint8_t *bytes, size_t length, KpxProfile *p)
{
	if (kpx_profile_check(bytes, length, p) != KPX_OK)
		return false;
	fuzz_profile_provide(p);
	kpx_profile_decode(bytes, length, p);
	return true;
}

/* The flat form, to be freed. */
static inline uint8_t *
fuzz_profile_encode(const KpxProfile *p, size_t *length)
{
	size_t bound;
	uint8_t *flat;

	FUZZ_CHECK(kpx_profile_bound(p, &bound) == KPX_OK);
	flat = fuzz_alloc(bound, 1);
	*length = kpx_profile_encode(p, flat);
	FUZZ_CHECK(*length <= bound);
	return flat;
}

#endif /* KPX_FUZZ_PROFILE_H */
