/*
 * kernel.h
 *	  The innermost loops, compiled for several instruction sets and chosen at run time.
 *
 * kernel_body.h is the one source of all of them; kernel.c compiles it once for each
 * level. Function multiversioning by the compiler (target_clones) is of no use here: it
 * asks for a CPU model by name, and so picks the slowest version on another maker's CPU.
 *
 * All matrices are row-major with 64-byte aligned rows; n, rows and so on may be 0.
 */
#ifndef KPX_KERNEL_H
#define KPX_KERNEL_H

#include "matrix.h"

/*
 * Rows of a matrix that will be gathered soon: index[next .. end) of them have not been asked of memory yet.
 * A kernel that computes for a while asks for some of them now and then, so that they come while
 * it computes; end may be next.
 */
typedef struct KpxAhead
{
	const float *matrix;
	size_t ld;
	const uint32_t *index;
	size_t next;
	size_t end;
} KpxAhead;

#define KPX_LANES 8 /* systems that are solved side by side */
#define KPX_CODE_ROWS 8 /* rows that lie together in code_products */

typedef struct KpxKernels
{
	const char *name;

	/* scale[k] = 1 / sqrt(a * diagonal[k] + ridge) for ld entries. */
	void (*scale)(const float *diagonal, size_t ld, float a, float ridge, float *scale);

	/*
	 * S and s: gathered[j] = sqrt(weight[j]) * scale * matrix[index[j]], root[j] =
	 * sqrt(weight[j]) for n entries; ld floats a row. Bit 31 of index is ignored.
	 * known >= n: entries of index that may be looked at ahead of time.
	 */
	void (*gather)(const float *matrix, size_t ld, const float *scale, const uint32_t *index, const float *weight,
				   size_t n, size_t known, float *gathered, float *root);

	/* to[k][j] = from[j][k] for n rows and ld columns; columns n..ldk of to become zero. */
	void (*transpose)(const float *from, size_t ld, size_t n, float *to, size_t ldk);

	/*
	 * c += a'a, a: rows x n, the upper triangle in whole 16-column lines. Up to 7 rows
	 * after row n of c are overwritten, so c has kpx_ld(n) rows. All of ahead is asked for meanwhile.
	 */
	void (*gram)(const float *a, size_t lda, size_t rows, size_t n, float *c, size_t ldc, KpxAhead *ahead);

	/* c = aa' for n <= 4 rows of a (n x ld), the upper triangle. */
	void (*gram_few)(const float *a, size_t ld, size_t n, float *c, size_t ldc);

	/* kpx_cholesky and kpx_cholesky_solve of cholesky.h; the rows of a: kpx_ld(n). */
	bool (*cholesky)(float *a, size_t ld, size_t n);
	void (*cholesky_solve)(const float *u, size_t ld, size_t n, float *b);

	/* v += s'z: s is n x ld, v ld floats. */
	void (*combine)(const float *s, size_t ld, size_t n, const float *z, float *v);

	/* a.b of ld floats, both aligned. */
	float (*dot)(const float *a, const float *b, size_t ld);

	/* a.b of ld numbers, in double. */
	double (*dot_wide)(const float *a, const double *b, size_t ld);

	/* score[i] = items[i].x for rows of ld floats; a row's score does not depend on its neighbours. */
	void (*scores)(const float *items, size_t ld, size_t rows, const float *x, float *score);

	/*
	 * score[j] = items[index[j]].x for n entries, the same to the last bit. known >= n: entries of
	 * index that may be looked at ahead of time.
	 */
	void (*scores_at)(const float *items, size_t ld, const uint32_t *index, size_t n, size_t known, const float *x, float *score);

	/* First i of [begin, n) in steps of 16 from begin (a multiple of 16) for which one of
	 * score[i..i+16) reaches threshold; the last multiple of 16 not above n when none does. */
	size_t (*next_above)(const float *score, size_t begin, size_t n, float threshold);

	/* The largest |x[k]| of ld floats. */
	float (*largest)(const float *x, size_t ld);

	/* code[k] = x[k] * by, at most 127, rounded; returns sum (x - scale * code)^2, in floats. */
	float (*encode)(const float *x, size_t ld, float by, float scale, int8_t *code);

	/*
	 * product[i] = sum x[k] code[i][k], exactly, for groups of KPX_CODE_ROWS rows: columns 0..3 of each of its
	 * rows, then columns 4..7, and so on, so that a register holds eight rows; ld bytes a row, 32-byte aligned.
	 * Nothing is -128.
	 */
	void (*code_products)(const int8_t *codes, size_t ld, size_t groups, const int8_t *x, int32_t *product);

	/* sum (a - b)^2 of ld floats, both aligned. */
	float (*distance)(const float *a, const float *b, size_t ld);

	/* sum += by * x, ld floats of x in double. */
	void (*add_row)(const float *x, float by, size_t ld, double *sum);

	/*
	 * For 16 rows x, transposed (d x 16): best and second, the two least of |c|^2 - 2 x.c
	 * over rows c < k of centre (ld floats a row, norm[c] = |c|^2), and which c is best, the
	 * first of equals. second is infinite for k = 1.
	 */
	void (*nearest_two)(const float *x, size_t d, const float *centre, size_t ld, size_t k, const float *norm, float *best,
						float *second, uint32_t *which);

	/*
	 * Rows of up to n entries, KPX_LANES of them at a time, one a lane; n a multiple of 4, entries that a
	 * row does not have with weight 0. Arrays [..][lane] are 32-byte aligned. A lane's numbers do not
	 * depend on those of others. scale[k][lane] = 1 / sqrt(a * diagonal[k] + ridge[lane]), ld k's.
	 */
	void (*lanes_scale)(const float *diagonal, size_t ld, float a, const float *ridge, float *scale);

	/* S: gathered[j][k][lane] = root[j][lane] scale[k][lane] matrix[index[j][lane]][k]. Bit 31 of index is ignored. */
	void (*lanes_gather)(const float *matrix, size_t ld, const float *scale, const uint32_t *index, const float *root, size_t n,
						 float *gathered);

	/*
	 * right[j][lane] := (I + SS')^-1 right; system: n * n * KPX_LANES floats of scratch. All of ahead is asked
	 * for meanwhile. Bit r of the result: the system of lane r was positive definite and finite.
	 */
	uint32_t (*lanes_dual)(const float *gathered, size_t ld, size_t n, float *system, float *right, KpxAhead *ahead);

	/* out[lane][k] = scale[k][lane] (S'z)[k][lane], to aligned rows of ld floats; square[lane] = |out[lane]|^2. */
	void (*lanes_combine)(const float *gathered, size_t ld, size_t n, const float *z, const float *scale,
						  float *const out[KPX_LANES], float *square);
} KpxKernels;

/* The fastest level this CPU has. */
extern const KpxKernels *kpx_kernels(void);

/* Level 0 (portable), 1, ...; NULL when there is none such or the CPU lacks it. For tests. */
extern const KpxKernels *kpx_kernels_level(int level);

#endif /* KPX_KERNEL_H */
