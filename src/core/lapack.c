/*
 * lapack.c
 *	  The one function of the Fortran run time that the LAPACK routines we link use.
 *
 * We link OpenBLAS's serial archive statically; its dormtr concatenates one-letter
 * options to ask for block sizes. Defining that here saves a run-time dependency on
 * libgfortran, whose soname changes with the compiler. Semantics: gfortran's
 * libgfortran/intrinsics/string_intrinsics: concatenate, cut or pad with blanks.
 */
#include <stddef.h>
#include <string.h>

extern void _gfortran_concat_string(size_t to_length, char *to, size_t a_length, const char *a,
									size_t b_length, const char *b);

__attribute__((visibility("hidden"))) void
_gfortran_concat_string(size_t to_length, char *to, size_t a_length, const char *a,
						size_t b_length, const char *b)
{
	size_t from_a = a_length < to_length ? a_length : to_length;
	size_t from_b = b_length < to_length - from_a ? b_length : to_length - from_a;

	memcpy(to, a, from_a);
	memcpy(to + from_a, b, from_b);
	memset(to + from_a + from_b, ' ', to_length - from_a - from_b);
}
