/*
 * aggregate.c
 *	  What kpx_profile_agg does: events and profiles, in an order the input says, into sketches; then finished.
 *
 * Each step is a byte: an event, an interest, a partial state that is written, read and merged (as parallel
 * workers do), or, with the rest of the input, a profile of foreign bytes.
 */
#include "profile.h"

#include "core/sketch.h"

static KpxSketch *
new_sketch(int64_t half_life)
{
	KpxSketchShape shape = kpx_sketch_smallest();

	return kpx_sketch_init(fuzz_alloc(kpx_sketch_bytes(&shape), 1), &shape, half_life);
}

static KpxSketch *
grown(KpxSketch *sketch)
{
	KpxSketchShape shape = kpx_sketch_wanted(sketch);
	KpxSketch *moved = kpx_sketch_move(sketch, fuzz_alloc(kpx_sketch_bytes(&shape), 1), &shape);

	free(sketch);
	return moved;
}

static uint8_t *
finished(const KpxSketch *sketch, uint32_t limit, size_t *length)
{
	KpxProfile p;
	KpxProfile checked;
	uint8_t *flat;

	kpx_sketch_profile_size(sketch, &p);
	fuzz_profile_provide(&p);
	kpx_sketch_profile(sketch, limit, &p);
	flat = fuzz_profile_encode(&p, length);
	fuzz_profile_release(&p);
	FUZZ_CHECK(kpx_profile_check(flat, *length, &checked) == KPX_OK);
	return flat;
}

static KpxSketch *
merged(KpxSketch *sketch, const KpxProfile *p)
{
	KpxStatus status;

	while ((status = kpx_sketch_merge(sketch, p)) == KPX_MORE)
		sketch = grown(sketch);
	FUZZ_CHECK(status == KPX_OK || status == KPX_TOO_BIG || (status == KPX_BAD_ARGUMENT && p->half_life != kpx_sketch_half_life(sketch)));
	return sketch;
}

/* Through the bytes that one process sends another. */
static KpxSketch *
sent(KpxSketch *sketch)
{
	size_t length;
	uint8_t *flat = finished(sketch, KPX_MAX_SKETCH_FEATURES, &length);
	KpxProfile p;

	FUZZ_CHECK(fuzz_profile_receive(flat, length, &p));
	sketch = merged(sketch, &p);
	fuzz_profile_release(&p);
	free(flat);
	return sketch;
}

/* A few names of all lengths, also those that are refused. */
static KpxName
name_from(FuzzInput *input, char *room, uint32_t most)
{
	uint8_t byte = fuzz_byte(input);
	KpxName name = {room, byte < 250 ? byte % 12 : byte == 250 ? most
											   : byte == 251   ? most + 1
															   : 0};

	memset(room, 'a' + byte % 7, most + 1);
	if (byte % 3 == 0 && name.length >= 5)
		memcpy(room, "item:", 5);
	if (byte % 5 == 0)
		room[0] = (char) fuzz_byte(input);
	return name;
}

static KpxSketch *
event_from(FuzzInput *input, KpxSketch *sketch)
{
	char module[KPX_MAX_PROFILE_NAME + 1];
	char kind[KPX_MAX_PROFILE_NAME + 1];
	uint8_t has = fuzz_byte(input);
	KpxProfileEvent event = {.dated = has & 1, .valued = has & 2, .timed = has & 4};
	KpxStatus status;

	event.module = name_from(input, module, KPX_MAX_PROFILE_NAME);
	event.kind = name_from(input, kind, KPX_MAX_PROFILE_NAME);
	event.at = fuzz_number(input);
	event.value = fuzz_number(input);
	event.duration = fuzz_number(input);
	while ((status = kpx_sketch_count(sketch, &event)) == KPX_MORE)
		sketch = grown(sketch);
	return sketch;
}

static KpxSketch *
interest_from(FuzzInput *input, KpxSketch *sketch)
{
	char module[KPX_MAX_PROFILE_NAME + 1];
	char feature[KPX_MAX_FEATURE_NAME + 1];
	KpxName module_name = name_from(input, module, KPX_MAX_PROFILE_NAME);
	KpxName feature_name = name_from(input, feature, KPX_MAX_FEATURE_NAME);
	bool dated = fuzz_byte(input) & 1;
	int64_t at = fuzz_number(input);
	KpxStatus status;
	double weight;

	fuzz_take(input, &weight, sizeof(weight));
	if (!(weight >= 0 && weight <= KPX_PROFILE_MAX_WEIGHT))
		weight = 1;
	while ((status = kpx_sketch_interest(sketch, module_name, feature_name, weight, dated, at)) == KPX_MORE)
		sketch = grown(sketch);
	return sketch;
}

/* So many features that the weaker ones are dropped. */
static KpxSketch *
crowd(FuzzInput *input, KpxSketch *sketch)
{
	uint8_t first = fuzz_byte(input);
	int64_t at = fuzz_number(input);
	char feature[16];
	KpxStatus status;

	for (int i = 0; i < 600; i++)
	{
		KpxName name = {feature, (uint32_t) snprintf(feature, sizeof(feature), "%s%d", first & 1 ? "item:" : "f", first * 100 + i)};

		while ((status = kpx_sketch_interest(sketch, (KpxName){"m", 1}, name, 1 + i % 7, first & 2, at)) == KPX_MORE)
			sketch = grown(sketch);
	}
	return sketch;
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	FuzzInput input = {bytes, length};
	uint8_t aging = fuzz_byte(&input);
	int64_t half_life = aging % 4 == 0 ? 0 : aging % 4 == 1 ? KPX_PROFILE_MIN_HALF_LIFE
										 : aging % 4 == 2   ? KPX_PROFILE_MAX_HALF_LIFE
															: INT64_C(2592000000000);
	KpxSketch *sketch = new_sketch(half_life);
	size_t flat_length;
	KpxProfile p;

	for (int crowds = 0; input.left > 0;)
		switch (fuzz_byte(&input) % 8)
		{
			case 0:
			case 1:
				sketch = event_from(&input, sketch);
				break;
			case 2:
			case 3:
			case 4:
				sketch = interest_from(&input, sketch);
				break;
			case 5:
				if (crowds++ < 4)
					sketch = crowd(&input, sketch);
				break;
			case 6:
				sketch = sent(sketch);
				break;
			default:
				if (fuzz_profile_receive(input.at, input.left, &p))
				{
					sketch = merged(sketch, &p);
					fuzz_profile_release(&p);
				}
				input.left = 0;
		}
	free(finished(sketch, KPX_PROFILE_INTERESTS, &flat_length));
	free(sketch);
	return 0;
}
