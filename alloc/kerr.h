/*
 * kerr.h - what kernel-side functions return: 0, or one of these, negative. On failure out
 * parameters are untouched and nothing has changed. Misuse that a caller can never mean is
 * port_panic(), not an error.
 */
#ifndef KMEMLAB_ALLOC_KERR_H
#define KMEMLAB_ALLOC_KERR_H

enum kerr {
	KERR_OK = 0,
	KERR_NO_MEMORY = -1,   /* nothing free satisfies the request: data, not a fault */
	KERR_UNSUPPORTED = -2, /* this system cannot do that at all (its caps say so) */
	KERR_INVALID = -3, /* the request makes no sense: zero frames, alignment no power of two */
	KERR_NOT_OWNED = -4, /* free of frames that are not allocated from here */
	KERR_CORRUPT = -5,   /* check(): an invariant does not hold; see the violation */
	KERR_TOO_SMALL = -6, /* RAM too small, or too scattered, to boot in */
	KERR_STOP = -7,	     /* a visitor asked to end the walk */
};

#define KERR_MUST_CHECK __attribute__((warn_unused_result))

#endif
