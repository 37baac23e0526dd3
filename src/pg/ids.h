/*
 * ids.h
 *	  Ids of users and items: which types they may have, and sorted lists of them.
 *
 * smallint, integer and bigint are one kind, text and varchar another (compared
 * byte by byte, whatever the collation), uuid the third.
 */
#ifndef KPX_IDS_H
#define KPX_IDS_H

#include "kpxrec.h"

typedef enum KpxIdKind
{
	KPX_ID_INT,
	KPX_ID_UUID,
	KPX_ID_TEXT
} KpxIdKind;

#define KPX_MAX_ID_LENGTH 1024

/* bytes is not owned; unused for integers. */
typedef struct KpxId
{
	int64 number;
	const char *bytes;
	uint32 length;
} KpxId;

/* n ids of one kind, increasing. */
typedef struct KpxIds
{
	KpxIdKind kind;
	uint64 n;
	const int64 *numbers; /* KPX_ID_INT */
	const char *bytes; /* KPX_ID_UUID: 16 a row; KPX_ID_TEXT: see offsets */
	const uint64 *offsets; /* KPX_ID_TEXT: n + 1 */
} KpxIds;

/* False when ids cannot have this type; domains count as their base type. */
extern bool kpx_id_kind(Oid type, KpxIdKind *kind);
/* 42804 unless the type is one ids can have; what: "column \"x\" of ..." */
extern KpxIdKind kpx_require_id_kind(Oid type, const char *what);
extern const char *kpx_id_kind_name(KpxIdKind kind);
/* Type a kind's ids have in the server: bigint, uuid, text. */
extern Oid kpx_id_kind_type(KpxIdKind kind);
/* The same as SQL has them, by kind. */
extern const char *const kpx_id_type_sql[];

/* value must be of a type of this kind, not NULL, and detoasted if text. Errors: 54000 for ids that are too long. */
extern KpxId kpx_id_from_datum(KpxIdKind kind, Oid type, Datum value);
/* An id as a value of type; 42804 when that is neither of the same kind nor text, 22003 when it does not fit. */
extern Datum kpx_id_to_datum(KpxIdKind kind, KpxId id, Oid type);
/* n ids of one kind as an array value of the kind's type. */
extern Datum kpx_id_array(KpxIdKind kind, const KpxId *ids, int n);
extern char *kpx_id_to_cstring(KpxIdKind kind, KpxId id);
/* SQL that reads a text expression as an id of this kind; NULL when it cannot be one. */
extern char *kpx_id_sql(KpxIdKind kind, const char *text);
/* Reads text as an id of this kind; what the type's input function raises. */
extern KpxId kpx_id_from_text(KpxIdKind kind, const char *text);

/* The same without errors: false when the text is not what kpx_id_to_cstring writes for an id of this kind. bytes may point into text. */
extern bool kpx_id_try_text(KpxIdKind kind, const char *text, KpxId *id);

extern int kpx_id_compare(KpxIdKind kind, KpxId a, KpxId b);
extern KpxId kpx_ids_get(const KpxIds *ids, uint64 i);
/* Those with without[i] false, in new arrays. */
extern KpxIds kpx_ids_without(const KpxIds *ids, const bool *without);
/* Index of id, or -1. */
extern int64 kpx_ids_find(const KpxIds *ids, KpxId id);

#endif /* KPX_IDS_H */
