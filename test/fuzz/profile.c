/*
 * profile.c
 *	  Any bytes as a flat profile: what passes the check is what its decoded form encodes to, and can be asked.
 */
#include "profile.h"

#include <math.h>

static void
ask(const KpxProfile *p)
{
	KpxInterest *all = fuzz_alloc(p->n_features, sizeof(KpxInterest));
	KpxInterest *own = fuzz_alloc(p->n_features, sizeof(KpxInterest));
	uint32_t n_all = kpx_profile_interests(p, -1, all);

	FUZZ_CHECK(n_all <= p->n_features);
	for (uint32_t m = 0; m < p->n_modules; m++)
	{
		uint32_t n = kpx_profile_interests(p, (int) m, own);
		double cosine = kpx_interests_cosine(all, n_all, own, n);

		FUZZ_CHECK(cosine >= 0 && cosine <= 1 + 1e-9);
		FUZZ_CHECK(kpx_profile_items(p, &p->modules[m]) >= 0);
	}
	kpx_interests_rank(all, n_all);
	for (uint32_t i = 1; i < n_all; i++)
		FUZZ_CHECK(all[i - 1].weight >= all[i].weight);
	free(all);
	free(own);
}

/* Without a module it is a profile again. */
static void
keep_others(KpxProfile *p, unsigned which)
{
	bool keep[KPX_MAX_PROFILE_MODULES];
	KpxProfile again;
	size_t length;
	uint8_t *flat;

	for (uint32_t m = 0; m < p->n_modules; m++)
		keep[m] = m != which % p->n_modules;
	kpx_profile_keep(p, keep);
	flat = fuzz_profile_encode(p, &length);
	FUZZ_CHECK(kpx_profile_check(flat, length, &again) == KPX_OK);
	free(flat);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	KpxProfile p;
	size_t again;
	uint8_t *flat;

	if (!fuzz_profile_receive(bytes, length, &p))
		return 0;
	flat = fuzz_profile_encode(&p, &again);
	FUZZ_CHECK(again == length && memcmp(flat, bytes, length) == 0);
	free(flat);
	ask(&p);
	if (p.n_modules)
		keep_others(&p, bytes[length - 1]);
	fuzz_profile_release(&p);
	return 0;
}
